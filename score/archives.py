"""Pictures in zip and tar archives, read in place: nothing is unpacked to the disk, no symbolic link is followed."""

import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO

from digits.images import data_file
from digits.images.data_file import error_text
from digits.score.chunk import UNREADABLE, Problem
from digits.score.skipped import Skipped

Members = Iterator[tuple[str, Callable[[], bytes | Problem]]]

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
LARGEST = 2**26  # bytes of one picture
TOTAL = 2**33  # bytes that are unpacked from one archive
KEPT = 2**26  # bytes of a tar's latest pictures, for hard links to them
ENCRYPTED = 1  # bit of a zip member's flags
DAMAGE = (*data_file.DAMAGE, tarfile.TarError, lzma.LZMAError)


def is_archive(path: str) -> bool:
    return path.lower().endswith((".zip", *TARS))


def count(path: str, takes: Callable[[str], bool]) -> int | None:
    """How many rows an archive gives; None for a tar, which would have to be read through. Raises one of DAMAGE."""
    if not path.lower().endswith(".zip"):
        return None
    with zipfile.ZipFile(path) as archive:
        return sum(takes(name) or is_archive(name) for name in archive.namelist())


def members(path: str, takes: Callable[[str], bool], skipped: Skipped) -> Iterator[tuple[str, bytes | Problem]]:
    """The pictures in an archive, in its order: name and content, or what is wrong with it.

    A name of "" is the archive itself: damaged, or unpacking to more than 8 GB. The rest of it is lost.

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
        yield "", Problem(UNREADABLE, f"the rest of the archive cannot be read: {error_text(error)}")


def _zip(path: str) -> Members:
    total = 0
    with zipfile.ZipFile(path) as archive:

        def content(info: zipfile.ZipInfo) -> bytes | Problem:
            nonlocal total
            if info.flag_bits & ENCRYPTED:
                return Problem(UNREADABLE, "the archive is encrypted; unpack it first")
            total += min(info.file_size, LARGEST)
            _check(total)
            try:
                with archive.open(info) as file:
                    return _bounded(file, info.file_size)
            except DAMAGE as error:
                return Problem(UNREADABLE, error_text(error))

        yield from ((info.filename, partial(content, info)) for info in archive.infolist() if not info.is_dir())


def _tar(path: str) -> Members:
    files = _TarFiles(path)
    with _opened(path) as archive:
        for member in _in_order(archive):
            if not member.isdir():
                yield member.name, partial(files.content, archive, member)


def _opened(path: str) -> tarfile.TarFile:
    try:
        return tarfile.open(path)
    except tarfile.ReadError as error:  # which tells of every compression that it tried
        raise ValueError("it is not a tar archive, compressed or not") from error


def _in_order(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members, read from front to end, so that nothing is unpacked twice, and none is kept in memory."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] # its stubs lack it
        _check(archive.offset)
        yield member
    assert archive.fileobj is not None  # noqa: S101 it is open
    archive.fileobj.seek(archive.offset)
    end = archive.fileobj.read(tarfile.BLOCKSIZE + 2 * tarfile.RECORDSIZE)
    if any(end) or not end:  # tarfile takes the end of the file, or damage, for the end of the archive
        raise ValueError("it does not end as a tar does, with zeros: it is cut short, or more follows")


class _TarFiles:
    """The contents of a tar's files.

    A hard link has the content of a file before it. That is one of the latest pictures, which are kept; or the archive
    is read again up to the link, at most 8 GB for all links.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._read_again = 0
        self._kept: dict[str, bytes] = {}
        self._size = 0

    def content(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Problem:
        """The content of the file that the archive is at."""
        content = self._linked(member) if member.islnk() else _tar_content(archive, member)
        self._keep(member.name, content)
        return content

    def _linked(self, link: tarfile.TarInfo) -> bytes | Problem:
        what = f"a hard link to {link.linkname}"
        try:
            content: bytes | Problem | None = self._kept.get(os.path.normpath(link.linkname))
            if content is None:
                content = self._found(link)
        except DAMAGE as error:
            return Problem(UNREADABLE, f"{what}, for which the archive is read again: {error_text(error)}")
        if content is None:
            return Problem(UNREADABLE, f"{what}, which is not before it in the archive")
        self._keep(link.linkname, content)
        return content

    def _found(self, link: tarfile.TarInfo) -> bytes | Problem | None:
        """The content of the last file of the link's target's name before the link."""
        self._read_again += link.offset
        _check(self._read_again)
        found, target = None, os.path.normpath(link.linkname)
        with _opened(self._path) as archive:
            for member in _in_order(archive):
                if member.offset >= link.offset:
                    break
                if os.path.normpath(member.name) == target:
                    found = self._found(member) if member.islnk() else _tar_content(archive, member)
        return found

    def _keep(self, name: str, content: bytes | Problem) -> None:
        name = os.path.normpath(name)
        self._size -= len(self._kept.pop(name, b""))
        if isinstance(content, bytes):
            self._kept[name] = content  # as the latest
            self._size += len(content)
        while self._size > KEPT:
            self._size -= len(self._kept.pop(next(iter(self._kept))))


def _tar_content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Problem:
    file = archive.extractfile(member) if member.isreg() else None
    if file is None:
        return Problem(UNREADABLE, "a link or a device in an archive, not a file")
    return _bounded(file, member.size)


def _check(total: int) -> None:
    """Raises ValueError if more is unpacked than one archive may take."""
    if total > TOTAL:
        raise ValueError(f"it unpacks to more than {TOTAL:,} bytes; unpack it and score the folder")


def _bounded(file: IO[bytes], size: int) -> bytes | Problem:
    """The content of a file, unless its size, as declared or as unpacked, is above LARGEST."""
    if size <= LARGEST:
        content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return content
        size = len(content)
    return Problem(UNREADABLE, f"unpacks to {size:,} bytes; at most {LARGEST:,} are accepted")
