"""PNG files: the chunks that the pixels are made of go to Pillow's decoder, without Pillow's plugin.

The plugin takes twice as long as the decoding of a small picture. It also inflates text and profiles, and warns about
animations, none of which is looked at here.
"""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from digits.images.errors import PictureError
from digits.images.exif import orientation
from digits.images.limits import Limits, check

MAGIC = b"\x89PNG\r\n\x1a\n"
MODES = {  # bits and colour type, to Pillow's mode and the form that its decoder unpacks
    (1, 0): ("1", "1"),
    (2, 0): ("L", "L;2"),
    (4, 0): ("L", "L;4"),
    (8, 0): ("L", "L"),
    (16, 0): ("I;16", "I;16B"),
    (8, 2): ("RGB", "RGB"),
    (16, 2): ("RGB", "RGB;16B"),
    (1, 3): ("P", "P;1"),
    (2, 3): ("P", "P;2"),
    (4, 3): ("P", "P;4"),
    (8, 3): ("P", "P"),
    (8, 4): ("LA", "LA"),
    (16, 4): ("RGBA", "LA;16B"),
    (8, 6): ("RGBA", "RGBA"),
    (16, 6): ("RGBA", "RGBA;16B"),
}
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2}  # in Pillow's memory; 4 for any other mode
KEPT = {b"IHDR", b"PLTE", b"tRNS", b"eXIf"}
XMP = b"XML:com.adobe.xmp\0"  # what an iTXt chunk of XMP data begins with


def opened(content: bytes, limits: Limits) -> tuple[Image.Image, int]:
    """The default picture of a PNG file and its orientation.

    Raises:
        PictureError: outside the limits, or damaged.
        ValueError: data that are cut short or cannot be inflated.
    """
    kept: dict[bytes, bytes] = {}
    data: list[memoryview] = []
    frames = 0
    for kind, body in _chunks(content, limits):
        frames += kind == b"fcTL"
        if kind == b"IDAT":
            data.append(body)
        elif kind in KEPT or body[: len(XMP)] == XMP:
            kept[kind] = bytes(body)
    check("frames", frames, limits.frames)
    image = _decoded(kept.get(b"IHDR", b""), data, limits)
    if image.mode == "P":
        image.putpalette(kept.get(b"PLTE", b""))
    if b"tRNS" in kept:
        image.info["transparency"] = _transparent(image.mode, kept[b"tRNS"])
    return image, orientation(kept.get(b"eXIf", b""), kept.get(b"iTXt", b""))


def _chunks(content: bytes, limits: Limits) -> Iterator[tuple[bytes, memoryview]]:
    """Kinds and bodies up to IEND, with the checksums of critical chunks checked."""
    view, place, count = memoryview(content), len(MAGIC), 0
    while True:
        length, kind = struct.unpack_from(">I4s", content, place)
        count += 1
        check("parts", count, limits.parts)
        if kind == b"IEND":
            return
        body = view[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
        is_critical = not kind[0] & 0x20
        if is_critical and checksum != zlib.crc32(body, zlib.crc32(kind)):
            raise PictureError(f"the PNG file is damaged: the checksum of its chunk at byte {place} is wrong")
        yield kind, body
        place += 12 + length


def _decoded(header: bytes, data: list[memoryview], limits: Limits) -> Image.Image:
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if compression or filtering or interlace > 1 or (bits, colour) not in MODES:
        raise PictureError("the PNG file is damaged: its header has values that PNG does not define")
    limits.check_size(width, height)
    mode, form = MODES[bits, colour]
    check("bytes to decode it", PIXEL_BYTES.get(mode, 4) * width * height, limits.decoder_bytes)
    return Image.frombytes(mode, (width, height), b"".join(data), "zip", form, interlace)


def _transparent(mode: str, value: bytes) -> bytes | int | tuple[int, ...]:
    """The transparent colour, or the opacity of each entry of a palette, as Pillow takes it."""
    if mode == "P":
        return value
    if mode == "RGB":
        return struct.unpack_from(">HHH", value)
    (shade,) = struct.unpack_from(">H", value)
    return 255 * bool(shade) if mode == "1" else int(shade)
