"""PNG files: only what the pixels are made of is kept, and it must inflate to just these pixels."""

import contextlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from PIL import Image

from digits.images import tiff
from digits.images.errors import PictureError
from digits.images.limits import Limits, Still

MAGIC = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PALETTE_BYTES = 3 * 256
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PIECE = 2**14  # bytes that are inflated at a time
LARGER = 16  # times, what they may inflate to at a time

END = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))

PLAIN = struct.Struct(">12s4sII5sII4s")  # up to the data: BEGINNING; IHDR's kind, size, form, checksum; IDAT's head
BEGINNING = MAGIC + b"\0\0\0\r"  # and the length of IHDR
GREY = b"\x08\0\0\0\0"  # 8 bits a pixel, not interlaced
PLAIN_PIXELS = 2**20

Body = bytes | memoryview


def plain(file: BinaryIO) -> Image.Image | None:
    """A small grey PNG of nothing but its pixels in one piece, as most pictures of digits are; otherwise None.

    Pillow's own decoder fills it, without the walk of Pillow's plugin, which takes twice as long as that. The file is
    then at its beginning again, if it is none.
    """
    header = file.read(PLAIN.size)
    if len(header) == PLAIN.size:
        beginning, kind, width, height, form, checksum, length, next_kind = PLAIN.unpack(header)
        is_plain = (beginning, kind, form, next_kind) == (BEGINNING, b"IHDR", GREY, b"IDAT")
        is_small = 0 < width * height <= PLAIN_PIXELS >= length
        if is_plain and is_small and checksum == zlib.crc32(header[12:29]):
            data, end = file.read(length), file.read(4 + len(END))  # after the checksum, which Pillow ignores too
            if end[4:] == END:
                with contextlib.suppress(ValueError):  # Pillow's plugin says what is wrong
                    return Image.frombytes("L", (width, height), data, "zip", "L")
    file.seek(0)
    return None


def still(content: bytes, limits: Limits) -> Still:
    """The default picture of a PNG file.

    Raises:
        PictureError: outside the limits, or not what the PNG specification allows.
    """
    header, kept, data, orientation, frames = b"", [], [], 0, 0
    for kind, body in chunks(content, limits):
        if kind == b"IHDR":
            header = bytes(body)
            limits.check_size(*struct.unpack_from(">II", header))
        elif kind == b"IDAT":
            data.append(body)
        elif kind in {b"PLTE", b"tRNS"} and len(body) <= PALETTE_BYTES and not data:
            kept.append(packed(kind, [body]))
        elif kind == b"eXIf":
            orientation = orientation or tiff.orientation(bytes(body))
        elif kind == b"fcTL":
            frames += 1
            limits.check_frames(frames)
    needed = inflated_bytes(header)
    limits.check_decoder_bytes((needed,))
    check_inflates_to(data, needed)
    return Still(b"".join([MAGIC, packed(b"IHDR", [header]), *kept, packed(b"IDAT", data), END]), orientation or 1)


def chunks(content: bytes, limits: Limits) -> Iterator[tuple[bytes, memoryview]]:
    """Kinds and bodies up to IEND, the checksums of those that matter checked."""
    place, count = len(MAGIC), 0
    while True:
        length, kind = struct.unpack_from(">I4s", content, place)
        count += 1
        limits.check_parts(count)
        if kind == b"IEND":
            return
        body = memoryview(content)[place + 8 : place + 8 + length]
        critical = not kind[0] & 0x20
        (checksum,) = struct.unpack_from(">I", content, place + 8 + length)
        if critical and checksum != zlib.crc32(body, zlib.crc32(kind)):
            raise PictureError(f"the PNG file is damaged: the checksum of its chunk at byte {place} is wrong")
        yield kind, body
        place += 12 + length


def packed(kind: bytes, bodies: Sequence[Body]) -> bytes:
    """One chunk of several bodies."""
    checksum = zlib.crc32(kind)
    for body in bodies:
        checksum = zlib.crc32(body, checksum)
    return b"".join([struct.pack(">I4s", sum(map(len, bodies)), kind), *bodies, struct.pack(">I", checksum)])


def inflated_bytes(header: bytes) -> int:
    """How long the pixels are before compression, by an IHDR chunk: every row has a filter byte before it."""
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if compression or filtering or interlace > 1 or colour not in CHANNELS:
        raise PictureError("the PNG file is damaged: its header has values that PNG does not define")
    total = 0
    for x, y, dx, dy in ADAM7 if interlace else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns > 0:
            total += max(0, rows) * (1 + (columns * bits * CHANNELS[colour] + 7) // 8)
    return total


def check_inflates_to(bodies: Iterable[Body], needed: int) -> None:
    """Raises PictureError for more or less than so many bytes, having inflated no more than a piece above that."""
    stream, total = zlib.decompressobj(), 0
    for body in bodies:
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            while piece and total <= needed:
                total += len(stream.decompress(piece, LARGER * PIECE))
                piece = stream.unconsumed_tail
    if total > needed:
        raise PictureError(f"the PNG file inflates to more than the {needed:,} bytes that its pixels are")
    if total < needed:
        raise PictureError(f"the PNG file is cut short: its data are {total:,} bytes; its pixels are {needed:,}")
