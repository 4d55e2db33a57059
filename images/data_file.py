"""Data files, in any format: unzipped if they are gzipped, and known by their first bytes, not by their names.

IDX is the format in which MNIST was published: a magic number, the sizes, then the bytes.
"""

import contextlib
import gzip
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

GZIP = b"\x1f\x8b"
NPZ, NPY, IDX, CSV = "an .npz file", "an .npy file", "an IDX file", "a CSV file"
UNKNOWN = "in an unknown format"
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
IDX_KINDS = {0x0801: "labels", 0x0803: "images"}
ROW = re.compile(rb"""(\xef\xbb\xbf)?["']?[\w.+-]+["']?\s*,[^\0<>]*""")
URL = re.compile(r"(https?|ftp|s3|gs|hf):/", re.IGNORECASE)
DAMAGE = (OSError, EOFError, ValueError, RuntimeError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error)


def url_refusal(path: str | Path) -> str | None:
    """The reason to refuse a path that is a URL; None for any other. A `Path` keeps one of a URL's two slashes."""
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
    """The format of an open file by its first bytes: NPZ, NPY, IDX, CSV, UNKNOWN or other words. Rewinds it."""
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


def idx_shape(file: IO[bytes], dimensions: int) -> tuple[int, ...]:
    """The shape that the header of an open IDX file says; unsigned bytes follow.

    Raises:
        ValueError: another type, another number of dimensions, or half a header.
    """
    header = file.read(4 + 4 * dimensions)
    magic, expected = int.from_bytes(header[:4], "big"), 0x0800 | dimensions
    if magic != expected:
        swapped = f"; it holds {IDX_KINDS[magic]}, so the files may be swapped" if magic in IDX_KINDS else ""
        raise ValueError(
            f"the magic number is 0x{magic:08x}; expected 0x{expected:08x}, uint8 in {dimensions} dimensions{swapped}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise ValueError(f"it ends after {len(header)} bytes; its header alone takes {4 + 4 * dimensions}")
    return struct.unpack_from(f">{dimensions}I", header, 4)


def read_idx(file: IO[bytes], dimensions: int) -> NDArray[np.uint8]:
    """An open IDX file as uint8 with so many dimensions. Raises one of DAMAGE, also for other formats."""
    if (found := kind(file)) not in {IDX, UNKNOWN}:
        raise ValueError(f"it is {found}; expected an IDX file")
    shape, content = idx_shape(file, dimensions), file.read()
    if len(content) != math.prod(shape):
        raise ValueError(f"{len(content)} bytes follow the header, which says {math.prod(shape)}; fetch the file again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def error_text(error: BaseException) -> str:
    """The text of an error, or its type's name, on one line."""
    if isinstance(error, EOFError) or str(error) == "File is not a zip file":  # whose directory is at its end
        return "the file is cut short; download it again"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
