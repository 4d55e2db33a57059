"""JPEG files: their segments are checked, and libjpeg decodes them in grey, to a fraction of their size if large."""

import math
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from digits.images.errors import PictureError
from digits.images.exif import PREFIX, orientation
from digits.images.grey import LONGEST
from digits.images.limits import Limits, check

MAGIC = b"\xff\xd8\xff"
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # frame headers of every JPEG process
TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD}
SCAN, END, APP1 = 0xDA, 0xD9, 0xE1
KNOWN = FRAMES | TABLES | {SCAN, *range(0xE0, 0xF0), 0xFE}
XMP = b"http://ns.adobe.com/xap/1.0/\0"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not padding, a restart, or data
BLOCK_BYTES = 2 * 8 * 8  # of coefficients
MODES = {1: ("L", "L"), 3: ("L", "L"), 4: ("CMYK", "CMYK;I")}  # by the number of components


class Segment(NamedTuple):
    """The second byte of its marker, and its parameters."""

    kind: int
    body: bytes


def opened(content: bytes, limits: Limits) -> tuple[Image.Image, int]:
    """The picture of a JPEG file, grey unless it is CMYK, and its orientation.

    Raises:
        PictureError: outside the limits, damaged, cut short, or neither baseline nor progressive.
        ValueError: data that libjpeg does not decode.
    """
    found = list(_segments(content, limits))
    frames = [segment for segment in found if segment.kind in FRAMES]
    scans = sum(segment.kind == SCAN for segment in found)
    if len(frames) != 1 or not scans:
        raise PictureError(
            f"the JPEG file is damaged: it has {len(frames)} frames and {scans} scans; expected one each"
        )
    texts = [body for kind, body in found if kind == APP1]
    exif, xmp = (next((text for text in texts if text.startswith(prefix)), b"") for prefix in (PREFIX, XMP))
    return _decoded(content, frames[0], scans, limits), orientation(exif, xmp)


def _segments(content: bytes, limits: Limits) -> Iterator[Segment]:
    """All segments up to the end marker, which is required."""
    place, count = 2, 0
    while marker := MARKER.search(content, place):
        kind, place = content[marker.end() - 1], marker.end()
        if kind == END:
            return
        if kind not in KNOWN:
            raise PictureError(f"the JPEG file is damaged: marker 0x{kind:02X} at byte {place - 2}")
        count += 1
        check("parts", count, limits.parts)
        (length,) = struct.unpack_from(">H", content, place)
        yield Segment(kind, content[place + 2 : place + length])
        place += max(2, length)
    raise PictureError(f"the JPEG file is cut short: it ends after {len(content):,} bytes without an end marker")


def _decoded(content: bytes, frame: Segment, scans: int, limits: Limits) -> Image.Image:
    """Pictures of several scans need a buffer of all coefficients; the others are decoded row by row."""
    if frame.kind not in {BASELINE, EXTENDED, PROGRESSIVE}:
        raise PictureError(
            f"the JPEG file is of process {frame.kind - BASELINE}; baseline and progressive are accepted"
        )
    height, width, components = struct.unpack_from(">HHB", frame.body, 1)
    limits.check_size(width, height)
    check(f"pixels in its {scans:,} scans", scans * width * height, limits.scan_pixels)
    factors = [(byte >> 4, byte & 15) for byte in frame.body[7 : 6 + 3 * components : 3]]
    are_defined = all(1 <= factor <= 4 for pair in factors for factor in pair)  # noqa: PLR2004 - by the JPEG standard
    if components not in MODES or len(factors) != components or not are_defined:
        raise PictureError(f"the JPEG file is damaged: its {components} components have the sampling factors {factors}")
    mode, form = MODES[components]
    scale = next(s for s in (8, 4, 2, 1) if s == 1 or min(width, height) // LONGEST >= s)
    size = -(-width // scale), -(-height // scale)
    units = [
        -(-side // (8 * max(steps))) for side, steps in zip((width, height), zip(*factors, strict=True), strict=True)
    ]
    is_buffered = scans > 1 or frame.kind == PROGRESSIVE
    buffered = sum(BLOCK_BYTES * math.prod([*units, *pair]) for pair in factors if is_buffered)
    needed = buffered + math.prod(size) * (4 if mode == "CMYK" else 1)
    check("bytes to decode it", needed, limits.decoder_bytes)
    return Image.frombytes(mode, size, content, "jpeg", form, "", scale, 0)
