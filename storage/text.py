"""Text with file names in it, which may hold any character but NUL: on one line, and in the rows of a CSV."""

import csv
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Writer

    from _typeshed import SupportsWrite


def readable(text: str) -> str:
    r"""Text that every reader takes: a byte that is not UTF-8 becomes \xff, as Python writes it."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_line(message: object) -> str:
    return str(message).strip().partition("\n")[0]


def one_line(text: str | os.PathLike[str]) -> str:
    """A path, or a message with paths in it, on one line: what cannot be printed is escaped."""
    shown = readable(os.fspath(text))
    if shown.isprintable():
        return shown
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in shown)


def csv_writer(file: "SupportsWrite[str]") -> "Writer":
    r"""A writer of RFC 4180 rows that end in \n.

    Python before 3.11.9 and 3.12.3 quotes only those line breaks that are in its own line terminator. So that is both
    of them, and is shortened as the row is written.
    """
    return csv.writer(_Lines(file), lineterminator="\r\n")


class _Lines:
    def __init__(self, file: "SupportsWrite[str]") -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(f"{row[:-2]}\n")
