"""The run folder, in which training leaves its results and from which export takes them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.train.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "model.keras"
HISTORY = "history.json"
REPORT = "report.json"
FILES = {MODEL, HISTORY, REPORT}


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its folder and its report."""

    folder: Path
    report: dict[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / MODEL


def read_run(folder: Path) -> Run:
    """Raises RunError if the folder is not a finished run's."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"{folder}: not a run folder ({error.strerror}: {REPORT}); make one with `digits train`"
        ) from error
    except ValueError as error:
        raise RunError(f"{folder / REPORT}: damaged ({error}); train again") from error
    try:
        _ = report["model_sha256"], report["data"]["location"], report["data"]["sha256"], report["data"]["test_sha256"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / REPORT}: not a training report ({error}); train again") from error
    return Run(folder, report)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def new_run(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill that becomes `out` if the block ends well, and vanishes if it does not.

    Raises:
        RunError: `out` exists and is not to be replaced, is not a run folder, or cannot be written.
    """
    _check_free(out, overwrite=overwrite)
    try:
        out = out.resolve()  # with a name, though it be "."
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            yield new
            _check_free(out, overwrite=overwrite)  # hours may have passed
            _replace(out, new)
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror or error})") from error


def _check_free(out: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise RunError(f"{out}: exists; give another --out, or --overwrite to replace it")
    try:
        read_run(out)
    except RunError as error:
        raise RunError(f"{out}: not a run folder, so it is not replaced; give another --out") from error
    if foreign := sorted({entry.name for entry in out.iterdir()} - FILES):
        raise RunError(f"{out}: holds {foreign[0]}, which no run wrote, so it is not replaced; give another --out")


def _replace(out: Path, new: Path) -> None:
    """Puts the new folder in the place of the old one, if there is one, which is lost at no moment."""
    if not out.exists():
        new.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-replaced-", dir=out.parent))
    old = aside / out.name
    out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        old.rename(out)
        raise
    finally:
        shutil.rmtree(aside)
