"""BMP files: uncompressed ones, whole."""

import struct

from digits.images.errors import PictureError
from digits.images.limits import Limits, Still

MAGIC = b"BM"
CORE = 12  # bytes of the oldest header, whose sizes have 16 bits
HEADERS = {CORE, 40, 52, 56, 64, 108, 124}
UNCOMPRESSED = {0, 3}  # plain, and with bit masks


def still(content: bytes, limits: Limits) -> Still:
    """A BMP file as it is.

    Raises:
        PictureError: outside the limits, run-length encoded, or shorter than its pixels.
    """
    offset, header = struct.unpack_from("<II", content, 10)
    if header not in HEADERS:
        raise PictureError(f"the BMP file is damaged: its header has {header} bytes; expected 40")
    compression = colours = 0
    if header == CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", content, 18)
        (colours,) = struct.unpack_from("<I", content, 46)
    height = abs(height)
    limits.check_size(width, height)
    if compression not in UNCOMPRESSED:
        raise PictureError(f"the BMP file is compressed (kind {compression}); save it without compression, or as a PNG")
    most = 1 << min(bits, 8)
    if colours > most:
        raise PictureError(f"the BMP file is damaged: its palette has {colours:,} colours; at most {most} are possible")
    length = offset + (width * bits + 31) // 32 * 4 * height
    if len(content) < length:
        raise PictureError(f"the BMP file is cut short: it has {len(content):,} bytes; its header says {length:,}")
    limits.check_decoder_bytes((4, width, height))
    return Still(content)
