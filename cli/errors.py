"""Errors of the command line, and what the user can do about them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from digits.storage.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = dict.fromkeys(("train", "compare", "sweep", "score", "bench", "demo"), "--out")
OPTIONS |= dict.fromkeys(("classify", "read"), "--figure") | dict.fromkeys(("export", "models"), "--models")
OPTIONS |= {"bench report": "--results"}
NO_TEMPORARY = "No usable temporary directory"  # of tempfile's FileNotFoundError


MODULE_EXTRAS = {"pyarrow": "parquet", "ray": "ray"}  # of modules that not all of a command needs


class CommandError(Exception):
    """A command that cannot be carried out as given."""


def explained(error: Exception, command: Sequence[str]) -> str:
    """An error's message. Where it comes from a folder that is not writable, it names folder and option."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, OSError):
        cause = cause.__cause__
    if cause and NO_TEMPORARY in str(cause):
        return f"{error}; name a writable one by the variable TMPDIR"
    folder = _unwritable_folder(cause) if isinstance(cause, OSError) else None
    if folder is None:
        return str(error)
    option = OPTIONS.get(" ".join(command[:2])) or OPTIONS.get("".join(command[:1]))
    return f"{error}: the folder {folder} is not writable" + (f"; give another {option}" if option else "")


def _unwritable_folder(error: OSError) -> Path | None:
    """The folder in which a file could not be made, if that is what the error is about."""
    if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM} or error.filename is None:
        return None
    path = Path(str(error.filename)).absolute()
    folder = next(folder for folder in path.parents if os.path.lexists(folder))
    entered = os.access(folder, os.X_OK)  # where it cannot be, nothing tells whether the file was to be read or made
    return folder if entered and not os.access(folder, os.W_OK) and not os.access(path, os.F_OK) else None


def missing(module: str, command: str, extra: str) -> str:
    extra = MODULE_EXTRAS.get(module, extra)
    return f"digits {command} needs {module}, which is not installed; pip install 'digits-serving[{extra}]'"


def complain(message: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told
        print(f"digits: {one_line(message)}", file=sys.stderr)
    return code


def is_message(error: Exception) -> bool:
    """Whether an error is one for the user: one of our own, or the system's. Any other is a fault of ours."""
    return isinstance(error, OSError) or type(error).__module__.startswith("digits.")
