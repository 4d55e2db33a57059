"""The run folder: training writes its results there, and export reads them.

An unfinished run is in the sub-folder `unfinished/`: its settings from the start, its checkpoint from the first whole
epoch on. A finished run has a report, which is the last file to appear.
"""

import json
import math
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from digits.images.mnist import EMBEDDED
from digits.storage import lock
from digits.storage.json_file import write_json
from digits.train.errors import RunError
from digits.train.settings import TrainSettings

MODEL = "model.keras"
HISTORY = "history.json"
PREDICTIONS = "predictions.npz"
FIGURES = "figures"
PAGE = "report.html"
REPORT = "report.json"
UNFINISHED = "unfinished"
SETTINGS = "settings.json"
LOCK = ".lock"
FILES = {MODEL, HISTORY, PREDICTIONS, FIGURES, PAGE, REPORT, UNFINISHED}


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its folder and its report."""

    folder: Path
    report: dict[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / MODEL

    @property
    def history(self) -> dict[str, list[float]]:
        """Loss and accuracy, with a validation split val_loss and val_accuracy too: a value for each epoch.

        Raises:
            RunError: the file cannot be read.
        """
        history = _read_json(self.folder / HISTORY)
        return {name: [math.nan if value is None else value for value in values] for name, values in history.items()}


def read_run(folder: Path) -> Run:
    """Raises RunError unless the folder holds a finished run."""
    if not (folder / REPORT).exists() and is_unfinished(folder):
        raise RunError(f"{folder}: unfinished; continue with `digits train --resume {shlex.quote(str(folder))}`")
    report = _read_json(folder / REPORT)
    try:
        _ = report["model_sha256"], report["test"]["loss"]
        _ = report["data"]["location"], report["data"]["sha256"], report["data"]["test_sha256"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / REPORT}: not a training report ({error}); train again") from error
    return Run(folder, report)


def is_unfinished(folder: Path) -> bool:
    """Whether the folder holds a run that can be resumed."""
    return (folder / UNFINISHED / SETTINGS).exists()


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raises RunError if `out` holds something that must not be replaced: a run, unless `overwrite`, or other files."""
    if not os.path.lexists(out):
        return
    entries = [entry for entry in out.iterdir() if entry.name != UNFINISHED] if out.is_dir() else [out]
    if not entries and not is_unfinished(out):
        return
    if not overwrite:
        found = "holds an unfinished run; give --resume to continue it" if is_unfinished(out) else "exists"
        raise RunError(f"{out}: {found}; give another --out, or --overwrite to replace it")
    if not is_unfinished(out):
        try:
            read_run(out)
        except RunError as error:
            raise RunError(f"{out}: not a run folder, so it is not replaced; give another --out") from error
    figures = (entry for entry in (out / FIGURES).glob("*") if entry.suffix != ".png" or entry.is_dir())
    if others := sorted(str(entry.relative_to(out)) for entry in (*entries, *figures) if entry.name not in FILES):
        raise RunError(f"{out}: holds {others[0]}, which no run wrote, so it is not replaced; give another --out")


def resumed(folder: Path, data: str | None) -> TrainSettings:
    """The settings of the unfinished run in the folder, with `data` for its data if that is no longer where it was.

    Raises:
        RunError: the folder holds no unfinished run.
    """
    file = folder / UNFINISHED / SETTINGS
    if not is_unfinished(folder):
        state = "is finished" if (folder / REPORT).exists() else "holds no run"
        raise RunError(f"{folder}: {state}, so it cannot be resumed; start with `digits train`")
    saved = _read_json(file)
    try:
        own = TrainSettings(**saved["settings"] | {"layers": tuple(saved["settings"]["layers"]), "resume": folder})
    except (KeyError, TypeError) as error:
        raise RunError(f"{file}: not the settings of a run ({error}); start again with `digits train`") from error
    exists = own.data == EMBEDDED or Path(str(own.data)).exists()
    return replace(own, out=folder, data=own.data if exists else data or own.data)


@contextmanager
def locked(folder: Path, otherwise: str) -> Iterator[None]:
    """Makes the folder if needed, and keeps other processes out of it while the block runs.

    Raises:
        RunError: another process has locked it, with the message `otherwise`; or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / LOCK).touch()
            stack.enter_context(lock.locked(folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise RunError(otherwise) from error
        except OSError as error:
            raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
        yield


@contextmanager
def unfinished(out: Path, settings: TrainSettings, data_sha256: str) -> Iterator[Path]:
    """The sub-folder of an unfinished run, new or that of `settings.resume`, locked while the block runs.

    Raises:
        RunError: another process trains there, or has finished a run meanwhile; it cannot be written; or the resumed
            run had other data.
    """
    work = out / UNFINISHED
    with locked(work, f"{out}: another process is training this run"):
        if settings.resume is None:
            check_free(out, overwrite=settings.overwrite)  # again, since a download may have taken minutes
            for old in work.iterdir():
                if old.name != LOCK:
                    _remove(old)
            write_json(work / SETTINGS, {"settings": asdict(settings), "data_sha256": data_sha256})
        elif _read_json(work / SETTINGS)["data_sha256"] != data_sha256:
            raise RunError(f"--data {settings.data}: not the digits that this run has been trained on")
        yield work


def finish(out: Path, results: Path) -> None:
    """Moves a run's results from a folder inside its unfinished one into the run folder.

    The report of an old run goes first and that of the new one comes last, so that a report never stands next to
    another run's model.
    """
    (out / REPORT).unlink(missing_ok=True)
    for result in sorted(results.iterdir(), key=lambda path: path.name == REPORT):
        _remove(out / result.name)
        result.rename(out / result.name)
    (out / UNFINISHED / SETTINGS).unlink()  # first: while it exists, the run counts as unfinished
    shutil.rmtree(out / UNFINISHED)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"{error.strerror}: {path.name}"
        raise RunError(f"{path.parent}: not a run folder ({why}); make one with `digits train`") from error
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); train again") from error
