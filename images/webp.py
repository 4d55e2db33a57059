"""WebP files: their header is checked, and libwebp decodes the first frame."""

import io
import struct

from PIL import Image, WebPImagePlugin

from digits.images.errors import PictureError
from digits.images.exif import orientation
from digits.images.limits import Limits, check

PIXEL_BYTES = 16  # two canvases of libwebp's, the frame and Pillow's copy of it


def opened(content: bytes, limits: Limits) -> tuple[Image.Image, int]:
    """The first frame of a WebP file and its orientation.

    Raises:
        PictureError: outside the limits, or without a size.
        Exception: any that Pillow raises for damaged files.
    """
    size = _size(content)
    limits.check_size(*size)
    check("bytes to decode it", PIXEL_BYTES * size[0] * size[1], limits.decoder_bytes)
    image = WebPImagePlugin.WebPImageFile(io.BytesIO(content))  # Image.open would warn of sizes
    check("frames", image.n_frames, limits.frames)
    image.load()
    return image, orientation(image.info.get("exif", b""), image.info.get("xmp", b""))


def _size(content: bytes) -> tuple[int, int]:
    """Width and height of the whole canvas, which the first chunk says."""
    kind = content[12:16]
    if kind == b"VP8X":
        low_wide, high_wide, low_high, high_high = struct.unpack_from("<HBHB", content, 24)
        return 1 + (high_wide << 16 | low_wide), 1 + (high_high << 16 | low_high)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise PictureError("the WebP file is damaged: its first chunk does not say its size")
