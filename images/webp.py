"""WebP files: their chunks are checked, and libwebp decodes the first frame."""

import io
import struct
from collections.abc import Iterator

from PIL import Image, WebPImagePlugin

from digits.images.errors import PictureError
from digits.images.exif import orientation
from digits.images.limits import Limits

PIXEL_BYTES = 16  # two canvases of libwebp's, the frame and Pillow's copy of it


def opened(content: bytes, limits: Limits) -> tuple[Image.Image, int]:
    """The first frame of a WebP file and its orientation.

    Raises:
        PictureError: outside the limits, or without a header.
        Exception: whatever Pillow raises for damaged files.
    """
    size, frames, exif, xmp = None, 0, b"", b""
    for kind, body in _chunks(content, limits):
        size = size or _size(kind, body)
        frames += kind == b"ANMF"
        limits.check_frames(frames)
        if kind == b"EXIF":
            exif = bytes(body)
        elif kind == b"XMP ":
            xmp = bytes(body)
    if size is None:
        raise PictureError("the WebP file is damaged: no chunk says its size")
    limits.check_size(*size)
    limits.check_decoder_bytes((PIXEL_BYTES, *size))
    image = WebPImagePlugin.WebPImageFile(io.BytesIO(content))  # Image.open would warn of sizes
    image.load()
    return image, orientation(exif, xmp)


def _chunks(content: bytes, limits: Limits) -> Iterator[tuple[bytes, memoryview]]:
    view, place, count = memoryview(content), 12, 0
    while place + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        count += 1
        limits.check_parts(count)
        yield kind, view[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _size(kind: bytes, body: memoryview) -> tuple[int, int] | None:
    """Width and height of the whole canvas, from the chunk that says them first."""
    if kind == b"VP8X":
        low_wide, high_wide, low_high, high_high = struct.unpack_from("<HBHB", body, 4)
        return 1 + (high_wide << 16 | low_wide), 1 + (high_high << 16 | low_high)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
