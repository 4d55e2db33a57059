"""A data file: unzipped if it is gzipped, whatever it is called, and its format known by its first bytes."""

import contextlib
import gzip
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

GZIP = b"\x1f\x8b"
NPZ, NPY, IDX, CSV = "an .npz file", "an .npy file", "an IDX file", "a CSV file"
UNKNOWN = "in none of the formats that are read"
SIGNATURES = {
    b"PK\x03\x04": NPZ,
    b"\x93NUMPY": NPY,
    b"\0\0\x08": IDX,
    b"\x80": "a pickle",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}
ROW = re.compile(rb"""(\xef\xbb\xbf)?["']?[\w.+-]+["']?\s*,[^\0<>]*""")
URL = re.compile(r"(https?|ftp|s3|gs|hf):/", re.IGNORECASE)
DAMAGE = (OSError, EOFError, ValueError, RuntimeError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error)


def url_refusal(path: str | Path) -> str | None:
    """Why a path that is a URL is not read; None for any other. A `Path` has one of its two slashes left."""
    if URL.match(str(path)) and not Path(path).exists():
        return "a URL; URLs are not read: download the file and give its path"
    return None


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """The file's content, unzipped; it can seek. Raises one of DAMAGE, also while it is read."""
    with Path(path).open("rb") as raw:
        zipped = raw.read(len(GZIP)) == GZIP
        raw.seek(0)
        if not zipped:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unzipped:
            yield cast("IO[bytes]", unzipped)


def kind(file: IO[bytes]) -> str:
    """What an open file is by its first bytes: NPZ, NPY, IDX, CSV, UNKNOWN or other words. Leaves it at its start."""
    head = file.read(256)
    file.seek(0)
    if not head:
        return "an empty file"
    for signature, words in SIGNATURES.items():
        if head.startswith(signature):
            return words
    if head.lstrip().startswith(b"<"):
        return "an HTML or XML page, not the data; download it again"
    return CSV if ROW.match(head.splitlines()[0]) else UNKNOWN


def one_line(error: BaseException) -> str:
    """What damage is called, for a message."""
    if isinstance(error, EOFError) or str(error) == "File is not a zip file":  # whose directory is at its end
        return "the file is cut short; download it again"
    return " ".join(str(error).split()) or type(error).__name__
