"""What every benchmark's JSON says of itself, and that it is written whatever ends the benchmark. See schema.json."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.benchmarks.errors import BenchmarkError
from digits.report.number_format import comma_list
from digits.report.provenance import now, provenance
from digits.storage.json_file import write_json
from digits.storage.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from digits.benchmarks.settings import BenchmarkSettings
    from digits.images.mnist import Mnist

SCHEMA = 1
PLACES = {"cache", "data", "models", "out"}  # of this machine, which nobody else is to read


def measurement(
    name: str,
    settings: BenchmarkSettings,
    data: Mnist | None = None,
    *,
    seed: int | None = None,
    warm_up: str = "none",
    repeats: int = 1,
) -> dict[str, Any]:
    """The head of a benchmark's JSON; the paths of this machine are left out of it.

    Args:
        name: The benchmark's.
        settings: What it was told.
        data: The images, if it used some.
        seed: Of all that is random in it; None if nothing is.
        warm_up: What is run before anything is measured.
        repeats: How often each thing is measured.
    """
    kept = {key: value for key, value in asdict(settings).items() if key not in PLACES}
    options = [option for key, value in kept.items() for option in _option(key.replace("_", "-"), value)]
    return {
        "schema": SCHEMA,
        "benchmark": name,
        "command": " ".join(["digits bench", name, *options]),
        "commit": _commit(),
        "finished": now(),
        "complete": True,
        "seed": seed,
        "warm_up": warm_up,
        "repeats": repeats,
        "settings": kept,
        "data": {"sha256": data.sha256, "train": len(data.x_train), "test": len(data.x_test)} if data else None,
        **provenance(),
    }


@contextlib.contextmanager
def measuring(head: dict[str, Any], out: Path) -> Iterator[list[dict[str, Any]]]:
    """The measurements of a benchmark, to be added one by one; they are written to `out` however it ends.

    What is added to `head` meanwhile is written as well. What a benchmark that was ended too early has measured goes
    beside it, to NAME.partial.json: it never replaces what was measured whole.

    Raises:
        BenchmarkError: the file cannot be written.
    """
    measurements: list[dict[str, Any]] = []
    _require_writable(out, head["benchmark"])
    partial = out.with_name(f"{out.stem}.partial.json")
    try:
        yield measurements
    except BaseException as error:
        if measurements:
            ending = {"complete": False, "ended_by": _cause(error), "finished": now()}
            _keep(head | {"measurements": measurements} | ending, partial)
            print(f"kept what was measured: {one_line(partial)}", flush=True)
        raise
    _keep(head | {"measurements": measurements, "finished": now()}, out)
    partial.unlink(missing_ok=True)
    print(f"measured: {one_line(out)}", flush=True)


def _keep(result: dict[str, Any], file: Path) -> None:
    """Writes it, or what took minutes to measure is kept elsewhere, which the BenchmarkError says."""
    try:
        write(result, file)
    except BenchmarkError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="digits-bench-"), file.name)
        write(result, elsewhere)
        raise BenchmarkError(f"{error}; what was measured is in {elsewhere}") from error


def _cause(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "SIGTERM"
    return str(error) or type(error).__name__


def _require_writable(out: Path, benchmark: str) -> None:
    """Raises BenchmarkError for what could not be written in the end."""
    if out.is_dir():
        raise BenchmarkError(f"--out {out}: is a folder; give a file, such as {out / benchmark}.json")
    _make(out.parent)
    probe = out.with_name(f".{out.name}")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BenchmarkError(f"{out}: cannot be written ({error.strerror or error}); give another --out") from error


def write(result: dict[str, Any], file: Path) -> None:
    """Writes a benchmark's JSON beside and renames it. Raises BenchmarkError if it cannot be."""
    _make(file.parent)
    try:
        write_json(file, result)
    except OSError as error:
        raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"{folder}: cannot be made ({error.strerror or error}); give another --out") from error


def _option(name: str, value: object) -> Sequence[str]:
    """As the command line takes it; a switch by its name alone, and only where it is on."""
    if value is None or value is False or value == ():
        return []
    if value is True:
        return [f"--{name}"]
    return [f"--{name} {comma_list(value) if isinstance(value, tuple) else value}"]


def _commit() -> str | None:
    """The checkout's commit, with a + if it has been changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],  # noqa: S607 the one on the PATH
            cwd=here,
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
