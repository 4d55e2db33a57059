"""The strips and tiles of a compressed TIFF file, uncompressed here.

Pillow would give them to libtiff, which writes what it thinks of damaged ones to stderr, line after line.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from digits.images.errors import PictureError

CLEAR, END, FIRST = 256, 257, 258  # LZW's codes
WIDEST = 12  # bits of an LZW code
REPEAT = 129  # from where on PackBits repeats a byte rather than copying some


class Shape(NamedTuple):
    """How a strip's or tile's samples lie: rows, pixels of a row, samples of a pixel, bits and byte order of each."""

    rows: int
    columns: int
    samples: int
    bits: int
    order: str

    @property
    def size(self) -> int:
        """In bytes; every row begins with a byte of its own."""
        return self.rows * ((self.columns * self.samples * self.bits + 7) // 8)


def inflated(data: bytes, most: int) -> bytes:
    return zlib.decompressobj().decompress(data, most)


def unpacked(data: bytes, most: int) -> bytes:
    """PackBits: a count of bytes to copy, or of one to repeat."""
    out, place = bytearray(), 0
    while place < len(data) and len(out) < most:
        count = data[place]
        if count < REPEAT - 1:
            out += data[place + 1 : place + 2 + count]
            place += 2 + count
        else:
            out += data[place + 1 : place + 2] * (257 - count if count >= REPEAT else 0)
            place += 2 if count >= REPEAT else 1
    return bytes(out[:most])


def unlzw(data: bytes, most: int) -> bytes:
    """LZW as TIFF has it: the first bit is the highest, and codes grow wider one code early."""
    table, previous, width = [bytes([byte]) for byte in range(256)] + [b"", b""], b"", 9
    out, held, bits = bytearray(), 0, 0
    for byte in data:
        held, bits = held << 8 | byte, bits + 8
        if bits < width:
            continue
        bits -= width
        code, held = held >> bits, held & (1 << bits) - 1
        if code == CLEAR:
            del table[FIRST:]
            previous, width = b"", 9
            continue
        if code == END or len(out) >= most:
            break
        if code > len(table) or (code >= FIRST and not previous):
            raise PictureError(f"the TIFF file is damaged: LZW code {code} where {len(table)} is the highest")
        word = table[code] if code < len(table) else previous + previous[:1]
        if previous and len(table) < 1 << WIDEST:
            table.append(previous + word[:1])
            width = min(WIDEST, (len(table) + 1).bit_length())
        out += word
        previous = word
    return bytes(out[:most])


DECODERS: dict[int, Callable[[bytes, int], bytes]] = {5: unlzw, 8: inflated, 32773: unpacked, 32946: inflated}
IN_PYTHON = {5, 32773}


def uncompressed(data: bytes, method: int, shape: Shape, predictor: int) -> bytes | memoryview:
    """A strip's samples, of which exactly as many are decoded as it has.

    Raises:
        PictureError: it has fewer; its data, if LZW, are damaged.
        zlib.error: its data, if deflated, are damaged.
    """
    samples = DECODERS[method](data, shape.size)
    if len(samples) < shape.size:
        raise PictureError(f"the TIFF file is cut short: a strip has {len(samples):,} bytes of {shape.size:,}")
    return samples if predictor == 1 else summed(samples, shape)


def summed(samples: bytes, shape: Shape) -> memoryview:
    """Samples that each were stored as the difference from the one to their left."""
    rows = np.frombuffer(samples, f"{shape.order}u{shape.bits // 8}").reshape(shape.rows, shape.columns, shape.samples)
    return np.cumsum(rows, axis=1, dtype=rows.dtype).data.cast("B")
