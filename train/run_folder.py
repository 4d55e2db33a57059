"""The run folder, in which training leaves its results and from which export takes them.

A run that is not done lives in the folder's sub-folder `unfinished/`: its settings from the start, its checkpoint from
the first whole epoch on. A finished one has a report, which is the last file to come.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.images.mnist import EMBEDDED
from digits.storage import lock
from digits.storage.json_file import write_json
from digits.train.errors import RunError
from digits.train.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        """Loss and accuracy, and val_loss and val_accuracy where there is a validation split: a value each epoch.

        Raises:
            RunError: the file cannot be read.
        """
        history = _read_json(self.folder / HISTORY)
        return {name: [math.nan if value is None else value for value in values] for name, values in history.items()}


def read_run(folder: Path) -> Run:
    """Raises RunError if the folder is not a finished run's."""
    if not (folder / REPORT).exists() and is_unfinished(folder):
        raise RunError(f"{folder}: unfinished; go on with `digits train --resume {shlex.quote(str(folder))}`")
    report = _read_json(folder / REPORT)
    try:
        _ = report["model_sha256"], report["data"]["location"], report["data"]["sha256"], report["data"]["test_sha256"]
        _ = report["test"]["loss"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / REPORT}: not a training report ({error}); train again") from error
    return Run(folder, report)


def is_unfinished(folder: Path) -> bool:
    """Whether a run in the folder can be gone on with."""
    return (folder / UNFINISHED / SETTINGS).exists()


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raises RunError if `out` holds something that is not to be replaced, or is not a run."""
    if not os.path.lexists(out):
        return
    entries = [entry for entry in out.iterdir() if entry.name != UNFINISHED] if out.is_dir() else [out]
    if not entries and not is_unfinished(out):
        return
    if not overwrite:
        there = "holds an unfinished run; give --resume to go on with it" if is_unfinished(out) else "exists"
        raise RunError(f"{out}: {there}; give another --out, or --overwrite to replace it")
    if not is_unfinished(out):
        try:
            read_run(out)
        except RunError as error:
            raise RunError(f"{out}: not a run folder, so it is not replaced; give another --out") from error
    figures = (entry for entry in (out / FIGURES).glob("*") if entry.suffix != ".png" or entry.is_dir())
    if foreign := sorted(str(entry.relative_to(out)) for entry in (*entries, *figures) if entry.name not in FILES):
        raise RunError(f"{out}: holds {foreign[0]}, which no run wrote, so it is not replaced; give another --out")


def resumed(folder: Path, data: str | None) -> TrainSettings:
    """The settings of the unfinished run in the folder, with `data` for its data if that has gone from where it was.

    Raises:
        RunError: there is no unfinished run.
    """
    file = folder / UNFINISHED / SETTINGS
    if not is_unfinished(folder):
        state = "is finished" if (folder / REPORT).exists() else "holds no run"
        raise RunError(f"{folder}: {state}, there is nothing to go on with; start with `digits train`")
    saved = _read_json(file)
    try:
        own = TrainSettings(**saved["settings"] | {"layers": tuple(saved["settings"]["layers"]), "resume": folder})
    except (KeyError, TypeError) as error:
        raise RunError(f"{file}: not the settings of a run ({error}); train anew") from error
    there = own.data == EMBEDDED or Path(str(own.data)).exists()
    return replace(own, out=folder, data=own.data if there else data or own.data)


@contextmanager
def locked(folder: Path, otherwise: str) -> Iterator[None]:
    """Makes the folder if it has to, and keeps other processes out of such a block while it lasts.

    Raises:
        RunError: another process is in one, which `otherwise` says; or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error})") from error
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.locked(folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise RunError(otherwise) from error
        yield


@contextmanager
def unfinished(out: Path, settings: TrainSettings, data_sha256: str) -> Iterator[Path]:
    """The sub-folder for a run that is not done, new or that of `settings.resume`; ours alone while the block lasts.

    Raises:
        RunError: another process trains there, or has done so meanwhile; it cannot be written; or the run to go on with
            had other data.
    """
    work = out / UNFINISHED
    with locked(work, f"{out}: another process is training this run"):
        if settings.resume is None:
            check_free(out, overwrite=settings.overwrite)  # a download may have lain between
            for old in work.iterdir():
                if old.name != LOCK:
                    _remove(old)
            write_json(work / SETTINGS, {"settings": asdict(settings), "data_sha256": data_sha256})
        elif _read_json(work / SETTINGS)["data_sha256"] != data_sha256:
            raise RunError(f"--data {settings.data}: not the digits that this run has been trained on")
        yield work


def finish(out: Path, results: Path) -> None:
    """Moves a run's results from a folder inside its unfinished one into the run folder, which is finished by that.

    The report of an old run goes first, that of the new one comes last: never does it stand beside another's model.
    """
    (out / REPORT).unlink(missing_ok=True)
    for result in sorted(results.iterdir(), key=lambda path: path.name == REPORT):
        _remove(out / result.name)
        result.rename(out / result.name)
    (out / UNFINISHED / SETTINGS).unlink()  # first, since the run is unfinished as long as it is there
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
        raise RunError(
            f"{path.parent}: not a run folder ({error.strerror}: {path.name}); make one with `digits train`"
        ) from error
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}); train again") from error
