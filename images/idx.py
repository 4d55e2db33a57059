"""The IDX file format, in which MNIST was published: a magic number, the sizes, then the bytes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digits.images.errors import DataError

UINT8 = 0x08
GZIP_MAGIC = b"\x1f\x8b"


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """A file of unsigned bytes, gzipped or not, as uint8 with so many dimensions.

    Raises:
        DataError: no such file, a damaged one, or one of another type or number of dimensions.
    """
    content = _content(path)
    magic = int.from_bytes(content[:4], "big")
    expected = UINT8 << 8 | dimensions
    if magic != expected:
        raise DataError(
            f"{path}: the magic number is 0x{magic:08x}; expected 0x{expected:08x}, uint8 in {dimensions} dimensions"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: the file ends after {len(content)} bytes; its header alone takes {start}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{path}: {len(content) - start} bytes follow the header, which says {math.prod(shape)};"
            " fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the file cannot be read: {error}") from error
