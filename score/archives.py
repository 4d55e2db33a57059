"""Pictures in zip and tar archives. They are read where they lie: nothing is unpacked to the disk, no link followed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from functools import partial
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
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # encrypted
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
        for name, content in read(path):
            if is_archive(name):
                yield name, Problem(UNREADABLE, "an archive in an archive; unpack it first")
            elif takes(name):
                yield name, content()
            else:
                skipped.add_name(f"{path}/{name}")
    except DAMAGE as error:
        yield "", Problem(UNREADABLE, f"the archive cannot be read on: {' '.join(str(error).split())}")


def _zip(path: str) -> Iterator[tuple[str, Callable[[], bytes | Problem]]]:
    left = TOTAL
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue

            def content(info: zipfile.ZipInfo = info) -> bytes | Problem:
                nonlocal left
                left -= min(info.file_size, LARGEST)
                _check(left)
                try:
                    with archive.open(info) as file:
                        return _bounded(file, info.file_size)
                except DAMAGE as error:
                    return Problem(UNREADABLE, " ".join(str(error).split()) or type(error).__name__)

            yield info.filename, content


def _tar(path: str) -> Iterator[tuple[str, Callable[[], bytes | Problem]]]:
    with contextlib.ExitStack() as stack:
        unpacked = raw = stack.enter_context(open(path, "rb"))
        if (opener := OPENERS.get(raw.read(2))) is not None:
            unpacked = stack.enter_context(opener(raw, "rb"))
        raw.seek(0)
        # Read from front to end, so that no list of members grows and no seek unpacks anything twice.
        counted = _Counted(unpacked)
        archive = stack.enter_context(tarfile.open(fileobj=counted, mode="r|"))
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined] # its stubs lack it
            if not member.isdir():
                yield member.name, partial(_tar_member, archive, member)
        if any(counted.tail):  # tarfile takes the end of the file for the end of the archive
            raise EOFError("it does not end as a tar does, with zeros: it is cut short, or more follows")


def _tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Problem:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        return Problem(UNREADABLE, "a link or a device in an archive, not a file")
    return _bounded(file, member.size)


class _Counted(io.RawIOBase):
    """A stream that ends with an error after TOTAL bytes.

    Attributes:
        tail: The last of the bytes that were read, a tar's block at most.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = TOTAL
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self._left -= len(piece)
        _check(self._left)
        self.tail = (self.tail + piece[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        return piece


def _check(left: int) -> None:
    if left < 0:
        raise _TooMuchError(f"it unpacks to more than {TOTAL:,} bytes; unpack it and score the folder")


def _bounded(file: IO[bytes], size: int) -> bytes | Problem:
    """What is in a file, unless its size, or what it really unpacks to, is above LARGEST."""
    if size <= LARGEST:
        content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return content
        size = len(content)
    return Problem(UNREADABLE, f"unpacks to {size:,} bytes; at most {LARGEST:,} are accepted")
