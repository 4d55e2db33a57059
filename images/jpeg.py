"""JPEG files: tables, frame and scans of a baseline or progressive one, and how its colours are meant."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from digits.images import tiff
from digits.images.errors import PictureError
from digits.images.limits import Limits, Still
from digits.images.picture import LONGEST

MAGIC = b"\xff\xd8\xff"
START, END = MAGIC[:2], b"\xff\xd9"
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # headers of every process that JPEG knows
TABLES = {0xC4, 0xDB, 0xDD}  # of Huffman, of quantization, and how often decoding restarts
SCAN, APP0, APP1, ADOBE = 0xDA, 0xE0, 0xE1, 0xEE
SKIPPED = {0xCC, 0xDC, *range(0xE0, 0xF0), 0xFE} - {APP0, ADOBE}
EXIF = b"Exif\0\0"
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not padding, a restart, or 255 as data, which a zero follows
BLOCK_BYTES = 2 * 8 * 8  # of coefficients


class Segment(NamedTuple):
    """Its marker's second byte, its parameters, and after those of a scan the entropy-coded data."""

    kind: int
    body: bytes
    data: bytes = b""


def still(content: bytes, limits: Limits) -> Still:
    """The picture of a JPEG file.

    Raises:
        PictureError: outside the limits, cut short, or neither baseline nor progressive.
    """
    found = list(segments(content, limits))
    frames = [segment for segment in found if segment.kind in FRAMES]
    scans = sum(segment.kind == SCAN for segment in found)
    if len(frames) != 1 or not scans:
        raise PictureError(
            f"the JPEG file is damaged: it has {len(frames)} frames and {scans} scans; expected one each"
        )
    check_frame(frames[0], scans, limits)
    exif = (tiff.orientation(body[len(EXIF) :]) for kind, body, _ in found if kind == APP1 and body.startswith(EXIF))
    kept = (
        struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body + data
        for kind, body, data in found
        if kind not in SKIPPED
    )
    return Still(b"".join([START, *kept, END]), next(exif, 1))


def segments(content: bytes, limits: Limits) -> Iterator[Segment]:
    """All up to the end marker, which has to be there."""
    place, count, scans = len(START), 0, 0
    while marker := MARKER.search(content, place):
        kind, place = content[marker.end() - 1], marker.end()
        if kind == END[1]:
            return
        if kind not in FRAMES | TABLES | SKIPPED | {SCAN, APP0, ADOBE}:
            raise PictureError(f"the JPEG file is damaged: marker 0x{kind:02X} at byte {place - 2}")
        (length,) = struct.unpack_from(">H", content, place)
        body, data = content[place + 2 : place + length], b""
        place += max(2, length)
        if kind == SCAN:
            following = MARKER.search(content, place)
            data = content[place : following.start() if following else None]
            place += len(data)
        scans += kind == SCAN
        count += 1
        limits.check_scans(scans)
        limits.check_parts(count)
        yield Segment(kind, body, data)
    raise PictureError(f"the JPEG file is cut short: it ends after {len(content):,} bytes without an end marker")


def check_frame(frame: Segment, scans: int, limits: Limits) -> None:
    """Pictures of several scans are decoded from a buffer of all coefficients, the others row by row."""
    if frame.kind not in {BASELINE, EXTENDED, PROGRESSIVE}:
        raise PictureError(
            f"the JPEG file is of process {frame.kind - BASELINE}; baseline and progressive are accepted"
        )
    height, width, components = struct.unpack_from(">HHB", frame.body, 1)
    limits.check_size(width, height)
    factors = [(byte >> 4, byte & 15) for byte in frame.body[7 : 6 + 3 * components : 3]]
    across, down = max(x for x, _ in factors), max(y for _, y in factors)
    if len(factors) != components or not all(1 <= factor <= 4 for pair in factors for factor in pair):  # noqa: PLR2004 - JPEG's own
        raise PictureError("the JPEG file is damaged: its frame header has sampling factors other than 1 to 4")
    smaller = max(1, min(8, min(width, height) // LONGEST))  # as Pillow's draft will have it, or less
    output = (4 if components == 4 else 1, width, height // smaller)  # noqa: PLR2004 - CMYK
    units = -(-width // (8 * across)), -(-height // (8 * down))
    buffered = scans > 1 or frame.kind == PROGRESSIVE
    limits.check_decoder_bytes(output, *((BLOCK_BYTES, *units, x, y) for x, y in factors if buffered))
