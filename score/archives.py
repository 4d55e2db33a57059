"""Pictures in zip and tar archives. They are read where they lie: nothing is unpacked to the disk, no link followed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from functools import partial
from itertools import takewhile
from typing import IO, TYPE_CHECKING, Any

from digits.score.chunk import UNREADABLE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.score.skipped import Skipped

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}  # by their first two bytes
LARGEST = 2**26  # bytes of one picture
TOTAL = 2**33  # bytes of all that is unpacked from one archive
KEPT = 2**26  # bytes of a tar's latest pictures, for hard links to them
ENCRYPTED = 1  # bit of a zip member's flags
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # a directory that says less of encryption than the member
    NotImplementedError,  # a compression that Python does not have
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)


class _TooMuchError(ValueError):
    pass


def is_archive(path: str) -> bool:
    return path.lower().endswith((".zip", *TARS))


def count(path: str, takes: Callable[[str], bool]) -> int | None:
    """How many rows an archive gives; None for a tar, which would have to be read through."""
    if not path.lower().endswith(".zip"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(takes(info.filename) or is_archive(info.filename) for info in archive.infolist())
    except DAMAGE:
        return 1


def members(path: str, takes: Callable[[str], bool], skipped: Skipped) -> Iterator[tuple[str, bytes | Problem]]:
    """The pictures in an archive, in its order: name and content, or what is wrong with it.

    A name of "" is the archive itself, damaged, or unpacking to more than 8 GB: the rest of it is lost.

    Args:
        path: Of a .zip, or of a .tar, compressed or not.
        takes: Whether a name is a picture's.
        skipped: Counts the others.
    """
    read = _zip if path.lower().endswith(".zip") else _tar
    try:
        for given, content in read(path):
            name = given.replace("\0", "\\x00")  # which no file has, and no reader of a CSV expects
            if is_archive(name):
                yield name, Problem(UNREADABLE, "an archive in an archive; unpack it first")
            elif takes(name):
                yield name, content()
            else:
                skipped.add_name(f"{path}/{name}")
    except DAMAGE as error:
        yield "", Problem(UNREADABLE, f"the archive cannot be read on: {_words(error)}")


def _zip(path: str) -> Iterator[tuple[str, Callable[[], bytes | Problem]]]:
    budget = _Budget()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue

            def content(info: zipfile.ZipInfo = info) -> bytes | Problem:
                if info.flag_bits & ENCRYPTED:
                    return Problem(UNREADABLE, "the archive is encrypted; unpack it first")
                budget.take(min(info.file_size, LARGEST))
                try:
                    with archive.open(info) as file:
                        return _bounded(file, info.file_size)
                except DAMAGE as error:
                    return Problem(UNREADABLE, _words(error))

            yield info.filename, content


def _tar(path: str) -> Iterator[tuple[str, Callable[[], bytes | Problem]]]:
    files = _Files(path)
    with contextlib.ExitStack() as stack:
        archive, counted = _streamed(path, stack, _Budget())
        for member in _members(archive):
            if not member.isdir():
                yield member.name, partial(files.content, archive, member)
        if any(counted.tail):  # tarfile takes the end of the file for the end of the archive
            raise EOFError("it does not end as a tar does, with zeros: it is cut short, or more follows")


def _streamed(path: str, stack: contextlib.ExitStack, budget: _Budget) -> tuple[tarfile.TarFile, _Counted]:
    """A tar that is read from front to end, so that no seek unpacks anything twice."""
    unpacked = raw = stack.enter_context(open(path, "rb"))  # noqa: SIM115 the stack closes it
    if (opener := OPENERS.get(raw.read(2))) is not None:
        unpacked = stack.enter_context(opener(raw, "rb"))
    raw.seek(0)
    counted = _Counted(unpacked, budget)
    return stack.enter_context(tarfile.open(fileobj=counted, mode="r|")), counted


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] # its stubs lack it; the list would grow
        yield member


class _Files:
    """What is in the files of a tar.

    A hard link has the content of a file before it. That is one of the latest pictures, which are kept; or the archive
    is read again up to it, at most 8 GB for all links.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._again = _Budget()
        self._kept: dict[str, bytes] = {}
        self._size = 0

    def content(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Problem:
        """What is in the file at which the archive is."""
        content = self._linked(member) if member.islnk() else _tar_member(archive, member)
        self._keep(member.name, content)
        return content

    def _linked(self, link: tarfile.TarInfo) -> bytes | Problem:
        what = f"a hard link to {link.linkname}"
        content: bytes | Problem | None = self._kept.get(os.path.normpath(link.linkname))
        try:
            if content is None:
                content = self._read_again(link)
        except DAMAGE as error:
            content = Problem(UNREADABLE, f"{what}, for which the archive is read again: {_words(error)}")
        if content is None:
            return Problem(UNREADABLE, f"{what}, which is not before it in the archive")
        self._keep(link.linkname, content)
        return content

    def _read_again(self, link: tarfile.TarInfo) -> bytes | Problem | None:
        """What is in the last file of the link's target's name before the link."""
        found, target = None, os.path.normpath(link.linkname)
        with contextlib.ExitStack() as stack:
            archive, _ = _streamed(self._path, stack, self._again)
            for member in takewhile(lambda member: member.offset < link.offset, _members(archive)):
                if os.path.normpath(member.name) == target:
                    found = self._read_again(member) if member.islnk() else _tar_member(archive, member)
        return found

    def _keep(self, name: str, content: bytes | Problem) -> None:
        name = os.path.normpath(name)
        self._size -= len(self._kept.pop(name, b""))
        if isinstance(content, bytes):
            self._kept[name] = content
            self._size += len(content)
        while self._size > KEPT:
            self._size -= len(self._kept.pop(next(iter(self._kept))))


def _tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Problem:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        return Problem(UNREADABLE, "a link or a device in an archive, not a file")
    return _bounded(file, member.size)


class _Counted(io.RawIOBase):
    """A stream that ends with an error when the budget is spent.

    Attributes:
        tail: The last of the bytes that were read, a tar's block at most.
    """

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self._budget.take(len(piece))
        self.tail = (self.tail + piece[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        return piece


class _Budget:
    """The bytes that may be unpacked from one archive."""

    def __init__(self) -> None:
        self._left = TOTAL

    def take(self, size: int) -> None:
        """Takes so many. Raises _TooMuchError where they are not left."""
        self._left -= size
        if self._left < 0:
            raise _TooMuchError(f"it unpacks to more than {TOTAL:,} bytes; unpack it and score the folder")


def _bounded(file: IO[bytes], size: int) -> bytes | Problem:
    """What is in a file, unless its size, or what it really unpacks to, is above LARGEST."""
    if size <= LARGEST:
        content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return content
        size = len(content)
    return Problem(UNREADABLE, f"unpacks to {size:,} bytes; at most {LARGEST:,} are accepted")


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
