"""The IDX file format, in which MNIST was published: a magic number, the sizes, then the bytes."""

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digits.images import data_file
from digits.images.errors import DataError

UINT8 = 0x08
MEANINGS = {0x0801: "labels", 0x0803: "images"}


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """A file of unsigned bytes, gzipped or not, as uint8 with so many dimensions.

    Raises:
        DataError: no such file, a damaged one, or one of another type or number of dimensions.
    """
    content = _content(path)
    magic = int.from_bytes(content[:4], "big")
    expected = UINT8 << 8 | dimensions
    if magic != expected:
        swapped = MEANINGS.get(magic, "")
        raise DataError(
            f"{path}: the magic number is 0x{magic:08x}; expected 0x{expected:08x}, uint8 in {dimensions} dimensions"
            + (f": it holds {swapped}; are the files of images and labels swapped?" if swapped else "")
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
        with data_file.opened(path) as file:
            if (kind := data_file.kind(file)) not in {data_file.IDX, data_file.UNKNOWN}:
                raise DataError(f"{path} is {kind}; expected an IDX file")
            return file.read()
    except data_file.DAMAGE as error:
        raise DataError(f"{path}: the file cannot be read: {data_file.one_line(error)}") from error
