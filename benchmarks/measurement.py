"""The JSON of every benchmark: its head, and that it is written however the benchmark ends. See schema.json."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.section import Row, Section
from digits.benchmarks.settings import Output
from digits.images.mnist import Mnist
from digits.report.number_format import comma_list
from digits.storage.json_file import write_json
from digits.storage.provenance import now, provenance
from digits.storage.text import one_line

SCHEMA = 1
PATHS = {"cache", "data", "models", "out"}  # settings that name paths of this machine, which are left out
HERE = Path(__file__).parent
RESULTS = HERE / "results"
CODE = (":/", ":!results", ":!README.md", ":(top,exclude)README.md")  # what is not made from the measurements
INT8 = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8")  # flags of /proc/cpuinfo: what int8 is as fast as


class Result(NamedTuple):
    """What a benchmark writes; it may add to all of it until the end."""

    head: dict[str, Any]  # what was run, where, and with which versions
    findings: dict[str, Any]  # conclusions from the measurements
    rows: list[Row]  # the measurements
    out: Path  # the JSON file

    def json(self) -> dict[str, Any]:
        return {**self.head, "findings": self.findings, "measurements": self.rows}

    def show(self, section: Callable[[dict[str, Any]], Section]) -> None:
        """Prints the tables, and draws the figures next to the file. Raises BenchmarkError if one cannot be written."""
        section(self.json()).show(self.out)

    def repeats(self, system: str, load: dict[str, Any]) -> list[dict[str, Any]]:
        """The repeats of a system under a load, to be appended to; a new measurement if there is none yet."""
        for row in self.rows:
            if (row["system"], row["load"]) == (system, load):
                return row["repeats"]  # type: ignore[no-any-return] # a row is JSON
        self.rows.append({"system": system, "load": load, "repeats": []})
        return self.rows[-1]["repeats"]  # type: ignore[no-any-return] # a row is JSON


@contextlib.contextmanager
def measuring(
    name: str,
    settings: Output,
    data: Mnist | None = None,
    *,
    seed: int | None = None,
    warm_up: str = "none",
    repeats: int = 1,
) -> Iterator[Result]:
    """The result of a benchmark, which is written to `--out` however the benchmark ends.

    A benchmark that ends early writes to NAME.partial.json instead, so that it never replaces a complete result. The
    head says which images were used, the seed of random numbers, what is run before anything is measured (`warm_up`),
    and how often each thing is measured. Raises BenchmarkError if the file cannot be written, or if it is one of the
    checkout's own results and the code differs from its commit.
    """
    out = settings.out or Path("runs/bench", f"{name}.json")
    head = _head(name, settings, out, data) | {"seed": seed, "warm_up": warm_up, "repeats": repeats}
    result, partial = Result(head, {}, [], out), out.with_name(f"{out.stem}.partial.json")
    _require_writable(out, name)
    try:
        yield result
    except BaseException as error:
        if result.rows:
            cause = "SIGTERM" if isinstance(error, SystemExit) else str(error) or type(error).__name__
            head |= {"complete": False, "ended_by": cause, "finished": now()}
            _keep(result.json(), partial)
            print(f"kept what was measured: {one_line(partial)}", flush=True)
        raise
    head["finished"] = now()
    _keep(result.json(), out)
    partial.unlink(missing_ok=True)
    print(f"measured: {one_line(out)}", flush=True)


def _head(name: str, settings: Output, out: Path, data: Mnist | None) -> dict[str, Any]:
    kept = {key: value for key, value in asdict(settings).items() if key not in PATHS}
    commit = _commit()
    if commit and commit.endswith("+") and out.resolve().parent == RESULTS.resolve():
        raise BenchmarkError(f"--out {out}: the code differs from commit {commit[:-1]}; commit it first")
    where = provenance()
    where["machine"]["int8"] = _int8_instructions()
    return {
        "schema": SCHEMA,
        "benchmark": name,
        "command": " ".join(["digits bench", name, *filter(None, map(_option, kept, kept.values()))]),
        "commit": commit,
        "finished": now(),
        "complete": True,
        "settings": kept,
        "data": {"sha256": data.sha256, "train": len(data.x_train), "test": len(data.x_test)} if data else None,
        **where,
    }


def _option(key: str, value: object) -> str | None:
    """As the command line takes it; a switch by its name only. None if it is off or empty."""
    if value is None or value is False or value == ():
        return None
    given = comma_list(value) if isinstance(value, tuple) else str(value)
    return f"--{key.replace('_', '-')}" + ("" if value is True else f" {given}")


def _keep(result: dict[str, Any], file: Path) -> None:
    """Writes a result that took minutes; if that fails, to a temporary folder, which the BenchmarkError names."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, result)
    except OSError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="digits-bench-"), file.name)
        write_json(elsewhere, result)
        reason = error.strerror or error
        raise BenchmarkError(f"{file}: cannot be written ({reason}); what was measured is in {elsewhere}") from error


def _require_writable(out: Path, benchmark: str) -> None:
    """Raises BenchmarkError now for what could not be written in the end."""
    if out.is_dir():
        raise BenchmarkError(f"--out {out}: is a folder; give a file, such as {out / benchmark}.json")
    probe = out.with_name(f".{out.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BenchmarkError(f"{out}: cannot be written ({error.strerror or error}); give another --out") from error


def _commit() -> str | None:
    """The checkout's commit, with a + if anything but the results has changed since; None outside a checkout."""
    found = []
    for command in ("rev-parse --short=12 HEAD", f"status --porcelain --untracked-files=no -- {' '.join(CODE)}"):
        try:
            done = subprocess.run(["git", *command.split()], cwd=HERE, check=True, capture_output=True, text=True)  # noqa: S603, S607 our own
        except (OSError, subprocess.CalledProcessError):
            return None
        found.append(done.stdout.strip())
    return f"{found[0]}+" if found[1] else found[0]


def _int8_instructions() -> list[str]:
    """Those of this CPU that int8 runs on, by their names in /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return [flag for flag in INT8 if flag in flags]
