"""The inputs of a scoring: files, folders, globs, archives, arrays and lists of all these, in their order."""

import codecs
import contextlib
import glob
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from digits.images.data_file import url_refusal
from digits.images.settings import ArraySettings
from digits.score import archives, arrays
from digits.score.chunk import UNREADABLE, Chunk, Content, Problem
from digits.score.errors import ScoreError
from digits.score.skipped import EMPTY, Skipped

T = TypeVar("T")
Folders = tuple[tuple[int, int], ...]  # by device and inode

# The names that are taken from a folder or an archive; others are counted. A file that is given itself is always taken.
PICTURE = re.compile(
    r"[^.].*\.(apng|avif|bmp|dib|gif|heic|heif|jfif|jp2|jpe|jpeg|jpg|pbm|pgm|png|pnm|ppm|tga|tif|tiff|webp)",
    re.IGNORECASE | re.DOTALL,
)
CHUNK = 128  # pictures
CHUNK_BYTES = 2**22  # of files: large pictures go to more than one core sooner
PIECE = 2**16  # bytes of the standard input
DEFAULTS = ArraySettings()


class Picture(NamedTuple):
    """An input of a `Chunk`; `size` is the bytes that it takes to read."""

    path: str
    stamp: str
    content: Content
    size: int = 0


class Sources:
    """The inputs of a scoring.

    Args:
        paths: Files, folders, globs, archives, arrays; `-` is a list of these on the standard input, one a line, or
            each ended by a NUL where there is one.
        leave_out: Real paths of the scoring's own files, which are not taken from folders.
        settings: How arrays are read.
        say: Takes a line for the user about the arrays of a file.

    Attributes:
        skipped: The inputs that give no row: files of other names, arrays that are not digits, empty inputs.
    """

    def __init__(
        self,
        paths: Iterable[str],
        leave_out: Iterable[str] = (),
        settings: ArraySettings = DEFAULTS,
        say: Callable[[str], None] = print,
    ) -> None:
        self.skipped = Skipped()
        self._paths = [*paths]
        self._leave_out = {*leave_out}
        self._names = {os.path.basename(path) for path in self._leave_out}
        self._arrays = arrays.Reader(settings, self.skipped, say)

    def chunks(self) -> Iterator[Chunk]:
        """All inputs, in their order. Reads only as far as is asked; memory does not grow with their number."""
        waiting: list[Picture] = []
        size = 0
        for found in self._all():
            if isinstance(found, Picture):
                waiting.append(found)
                size += found.size
            if waiting and (isinstance(found, Chunk) or len(waiting) == CHUNK or size >= CHUNK_BYTES):
                yield _chunk(waiting)
                waiting, size = [], 0
            if isinstance(found, Chunk):
                yield found
        if waiting:
            yield _chunk(waiting)

    def count(self) -> int | None:
        """How many rows there will be, without reading them; None if only reading tells."""
        if "-" in self._paths:
            return None
        again = Sources(self._paths, self._leave_out)  # which counts again what is skipped
        rows = [_count(file) for path in self._paths for file, _ in again._files(path)]
        return None if None in rows else sum(filter(None, rows))

    def _all(self) -> Iterator[Picture | Chunk]:
        for path in self._paths:
            for given in self._counted(path, listed() if path == "-" else iter((path,))):
                for file, problem in self._counted(given, self._files(given)):
                    yield from self._counted(file, self._contents(file, problem))

    def _counted(self, path: str, found: Iterator[T]) -> Iterator[T]:
        """All that was found in a path. If that is nothing at all, the path is counted as empty."""
        before, empty = self.skipped.total, True
        for one in found:
            empty = False
            yield one
        if empty and self.skipped.total == before:
            self.skipped.add(path, EMPTY)

    def _files(self, path: str) -> Iterator[tuple[str, Problem | None]]:
        """The files that a path stands for, or a problem in place of one."""
        if os.path.isdir(path):
            yield from self._folder(path)
        elif os.path.lexists(path) or not glob.has_magic(path):
            yield path, None
        else:
            found = sorted(glob.iglob(path, recursive=True), key=os.fsencode)
            if not found:
                yield path, Problem(UNREADABLE, url_refusal(path) or "nothing matches this pattern")
            folders = {file.rstrip("/") for file in found if os.path.isdir(file)}
            for file in found:
                if folders.isdisjoint(map(str, Path(file).parents)):  # otherwise ** gives the files of a folder twice
                    yield from self._files(file)

    def _folder(self, top: str) -> Iterator[tuple[str, Problem | None]]:
        """All that is in a folder, its sub-folders in their places, by their names' bytes."""
        waiting: list[tuple[str, bool, Folders]] = [(top, True, ())]  # path, whether a folder, the folders it is in
        while waiting:
            path, is_folder, above = waiting.pop()
            if not is_folder:
                if self._wanted(path):
                    yield path, None
                continue
            if path != top and takes(path):
                yield path, Problem(UNREADABLE, "a folder with the name of a picture; what is in it is scored")
            try:
                status = os.stat(path)
                with os.scandir(path) as entries:
                    inside = sorted(entries, key=lambda entry: os.fsencode(entry.name), reverse=True)
            except OSError as error:
                yield path, Problem(UNREADABLE, _words(error))
                continue
            folder = (status.st_dev, status.st_ino)  # under any name
            if folder in above:
                yield path, Problem(UNREADABLE, "a link to a folder that it is in")
            else:
                waiting += [(entry.path, _is_folder(entry), (*above, folder)) for entry in inside]

    def _wanted(self, path: str) -> bool:
        """Whether a file in a folder is scored; counts it if not, unless it is our own or has labels."""
        name = path[path.rfind("/") + 1 :]
        if arrays.is_labels(name) or (name in self._names and os.path.realpath(path) in self._leave_out):
            return False
        if takes(name) or archives.is_archive(name) or arrays.is_array(name):
            return True
        self.skipped.add_name(path)
        return False

    def _contents(self, file: str, problem: Problem | None) -> Iterator[Picture | Chunk]:
        is_picture = takes(file)
        try:
            status = os.stat(file if is_picture else arrays.split(file)[0])
        except OSError as error:
            words = "a broken link" if os.path.islink(file) else url_refusal(file) or _words(error)
            yield Picture(file, "", problem or Problem(UNREADABLE, words))
            return
        stamp = f"{status.st_size}:{status.st_mtime_ns}"
        if problem is not None:
            yield Picture(file, stamp, problem)
        elif is_picture or not stat.S_ISREG(status.st_mode):  # what is not a file is found by its reader
            yield Picture(file, stamp, file, status.st_size)
        elif archives.is_archive(file):
            for name, content in archives.members(file, takes, self.skipped):
                yield Picture(f"{file}/{name}" if name else file, stamp, content, len(content))
        elif arrays.is_array(file) or arrays.is_csv(file):
            for found in self._arrays.read(file, stamp):
                yield Picture(file, stamp, found) if isinstance(found, Problem) else found
        else:
            yield Picture(file, stamp, file, status.st_size)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # a link may lead to itself


def _count(file: str) -> int | None:
    """How many rows a file gives; None if only reading it tells."""
    with contextlib.suppress(*archives.DAMAGE):  # a damaged file is one row
        if os.path.isfile(arrays.split(file)[0]) and not takes(file):
            if archives.is_archive(file):
                return archives.count(file, takes)
            if arrays.is_array(file) or arrays.is_csv(file):
                return None if arrays.is_csv(file) else arrays.count(file)
    return 1


def takes(name: str) -> bool:
    """Whether a name is that of a picture that is not hidden."""
    return PICTURE.fullmatch(name, name.rfind("/") + 1) is not None


def listed() -> Iterator[str]:
    """The paths on the standard input: each ended by a NUL if there is one in its first piece, or else by a newline.

    Before a newline a carriage return is part of it, as is a byte order mark of the first line: Windows writes them.
    """
    rest, end = b"", b""
    while piece := os.read(sys.stdin.fileno(), PIECE):
        rest += piece
        if not end:
            end = next((end for end in (b"\0", b"\n") if end in rest), b"")
            rest = rest.removeprefix(b"" if end == b"\0" else codecs.BOM_UTF8)
        if end:
            *paths, rest = rest.split(end)
            yield from _named(paths, end)
    yield from _named([rest], end)


def _named(paths: list[bytes], end: bytes) -> Iterator[str]:
    names = paths if end == b"\0" else [path.removesuffix(b"\r") for path in paths]
    return map(os.fsdecode, filter(None, names))


def checked(paths: Iterable[str]) -> list[str]:
    """Raises ScoreError for no path at all, or the standard input twice."""
    given = [str(path) for path in paths]
    if not given:
        raise ScoreError("nothing to score; say `digits score PATH... --out table.csv`")
    if wrong := [path for path in given if path.startswith("-") and path != "-"]:
        raise ScoreError(f"unknown option {wrong[0]}; see digits score --help (a file of that name is ./{wrong[0]})")
    if given.count("-") > 1:
        raise ScoreError("the standard input can be read once; say - once")
    return given


def _chunk(pictures: list[Picture]) -> Chunk:
    return Chunk(*([*column] for column in zip(*(picture[:3] for picture in pictures), strict=True)))


def _words(error: OSError) -> str:
    return error.strerror or str(error)
