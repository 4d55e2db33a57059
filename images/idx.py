"""The IDX file format, in which MNIST was published: a magic number, the sizes, then the bytes."""

import math
import struct
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from digits.images import data_file
from digits.images.errors import DataError

UINT8 = 0x08
MEANINGS = {0x0801: "labels", 0x0803: "images"}


def shape(file: IO[bytes], dimensions: int) -> tuple[int, ...]:
    """The shape of unsigned bytes with so many dimensions, which follow in the open file.

    Raises:
        ValueError: another type, another number of dimensions, or half a header.
    """
    size = 4 + 4 * dimensions
    header = file.read(size)
    magic, expected = int.from_bytes(header[:4], "big"), UINT8 << 8 | dimensions
    if magic != expected:
        holds = (
            f": it holds {MEANINGS[magic]}; are the files of images and labels swapped?" if magic in MEANINGS else ""
        )
        raise ValueError(
            f"the magic number is 0x{magic:08x}; expected 0x{expected:08x}, uint8 in {dimensions} dimensions{holds}"
        )
    if len(header) < size:
        raise ValueError(f"it ends after {len(header)} bytes; its header alone takes {size}")
    return struct.unpack_from(f">{dimensions}I", header, 4)


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """A file of unsigned bytes, gzipped or not, as uint8 with so many dimensions.

    Raises:
        DataError: no such file, a damaged one, or one of another type or number of dimensions.
    """
    try:
        with data_file.opened(path) as file:
            if (kind := data_file.kind(file)) not in {data_file.IDX, data_file.UNKNOWN}:
                raise ValueError(f"it is {kind}; expected an IDX file")
            sizes, content = shape(file, dimensions), file.read()
            if len(content) != math.prod(sizes):
                raise ValueError(
                    f"{len(content)} bytes follow the header, which says {math.prod(sizes)}; fetch the file again"
                )
    except data_file.DAMAGE as error:
        raise DataError(f"{path} cannot be read: {data_file.one_line(error)}") from error
    return np.frombuffer(content, np.uint8).reshape(sizes)
