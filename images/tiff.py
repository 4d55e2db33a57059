"""TIFF files: the first page's own tags alone, in one directory at the file's end; and EXIF, which is one too."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from digits.images import strips
from digits.images.errors import PictureError
from digits.images.limits import Limits, Still, within
from digits.images.strips import Shape

MAGICS = {b"II*\0": "<", b"MM\0*": ">"}
BYTE, SHORT, LONG = 1, 3, 4
CODES = {BYTE: "B", SHORT: "H", LONG: "I"}
ENTRY_BYTES = 12
ORIENTATION = 274
WIDTH, HEIGHT, BITS, COMPRESSION, INK, FILL_ORDER, SAMPLES, PLANES = 256, 257, 258, 259, 262, 266, 277, 284
STRIPS, ROWS, STRIP_BYTES, PREDICTOR, COLOURS = 273, 278, 279, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325
EXTRA, SAMPLE_FORMAT = 338, 339
SINGLE = {WIDTH, HEIGHT, COMPRESSION, INK, FILL_ORDER, SAMPLES, PLANES, ROWS, PREDICTOR, TILE_WIDTH, TILE_HEIGHT}
LONGS = {WIDTH, HEIGHT, STRIPS, ROWS, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES}
KEPT = SINGLE | LONGS | {BITS, COLOURS, EXTRA, SAMPLE_FORMAT}
NONE = 1
INKS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4}  # white is 0, black is 0, RGB, palette, CMYK: to their channels
PALETTE = 3
MOST_SAMPLES, MOST_BITS = 5, 64
ONE_OF = {COMPRESSION: {NONE, *strips.DECODERS}, PLANES: {1, 2}, FILL_ORDER: {1, 2}, PREDICTOR: {1, 2}, INK: {*INKS}}

Tags = dict[int, tuple[int, ...]]


class Directory(NamedTuple):
    """Where a directory's entries are, how many bytes they have, and where the next directory is, 0 if nowhere."""

    place: int
    length: int
    next: int


def still(content: bytes, limits: Limits) -> Still:
    """The first page of a TIFF file, uncompressed.

    Raises:
        PictureError: outside the limits, a kind that is not accepted, or strips that are not in the file.
    """
    order = MAGICS[content[:4]]
    tags = numbers(content, order, directories(content, order, limits), limits)
    upright = tags.pop(ORIENTATION, (1,))[0]
    limits.check_size(single(tags, WIDTH), single(tags, HEIGHT))
    check_kind(tags)
    check_strips(tags, content, limits)
    body = content[8:] if single(tags, COMPRESSION, NONE) == NONE else decoded(tags, content, order, limits)
    start = 8 + len(body)
    return Still(b"".join([content[:4], struct.pack(order + "I", start), body, packed(tags, order, start)]), upright)


def orientation(exif: bytes) -> int:
    """How a picture is turned by its EXIF data, a TIFF file without pixels; 1, upright, where they do not say."""
    try:
        order = MAGICS[exif[:4]]
        (place,) = struct.unpack_from(order + "I", exif, 4)
        return numbers(exif, order, directory(exif, order, place), Limits(), {ORIENTATION})[ORIENTATION][0]
    except (KeyError, IndexError, struct.error, PictureError):
        return 1


def directories(content: bytes, order: str, limits: Limits) -> Directory:
    """The first of them, after all have been followed."""
    (place,) = struct.unpack_from(order + "I", content, 4)
    first = current = directory(content, order, place)
    seen = {place}
    while current.next:
        if current.next in seen:
            raise PictureError(f"the TIFF file is damaged: after {len(seen)} pages its directories go round in a loop")
        seen.add(current.next)
        limits.check_frames(len(seen))
        current = directory(content, order, current.next)
    return first


def directory(content: bytes, order: str, place: int) -> Directory:
    (count,) = struct.unpack_from(order + "H", content, place)
    (following,) = struct.unpack_from(order + "I", content, place + 2 + count * ENTRY_BYTES)
    return Directory(place + 2, count * ENTRY_BYTES, following)


def numbers(content: bytes, order: str, where: Directory, limits: Limits, wanted: set[int] | None = None) -> Tags:
    """The first value of each tag that is kept, all of them whole numbers."""
    tags: Tags = {}
    for place in range(where.place, where.place + where.length, ENTRY_BYTES):
        tag, kind, count = struct.unpack_from(order + "HHI", content, place)
        if tag not in (wanted or KEPT | {ORIENTATION}) or tag in tags:
            continue
        if kind not in CODES or not count or (tag in SINGLE and count > 1):
            raise PictureError(f"the TIFF file is damaged: its tag {tag} has {count:,} values of type {kind}")
        limits.check_parts(count)
        code = f"{order}{count}{CODES[kind]}"
        start = place + 8
        if struct.calcsize(code) > 4:  # noqa: PLR2004 - bytes in the entry itself
            (start,) = struct.unpack_from(order + "I", content, start)
        tags[tag] = struct.unpack_from(code, content, start)
    return tags


def single(tags: Tags, tag: int, default: int = 0) -> int:
    return tags.get(tag, (default,))[0]


def check_kind(tags: Tags) -> None:
    """Raises PictureError for what the decoders of rare kinds would be needed for, and for contradictions."""
    for tag, accepted in ONE_OF.items():
        if single(tags, tag, 1) not in accepted:
            raise PictureError(
                f"the TIFF file is of a kind that is not accepted: its tag {tag} is {single(tags, tag, 1)}; save it in"
                " grey or RGB, uncompressed or with LZW or deflate, or as a PNG"
            )
    ink, samples, bits = single(tags, INK, 1), single(tags, SAMPLES, 1), tags.get(BITS, (1,))
    if not INKS[ink] <= samples <= MOST_SAMPLES or not 1 <= min(bits) == max(bits) <= MOST_BITS:
        raise PictureError(f"the TIFF file is damaged: it has {samples} channels of {bits} bits")
    if ink == PALETTE and len(tags.get(COLOURS, ())) != 3 << bits[0]:
        raise PictureError(f"the TIFF file is damaged: its palette is not one of {bits[0]} bits")
    if max(len(tags.get(tag, ())) for tag in (BITS, EXTRA, SAMPLE_FORMAT)) > samples:
        raise PictureError(f"the TIFF file is damaged: it describes more than its {samples} channels")
    if single(tags, PREDICTOR, 1) != 1 and bits[0] not in {8, 16, 32}:
        raise PictureError(f"the TIFF file is damaged: it predicts samples of {bits[0]} bits")


def check_strips(tags: Tags, content: bytes, limits: Limits) -> None:
    """Raises PictureError unless the strips or tiles are as many as the picture needs, and all are in the file.

    A row count that is larger than the picture, which is allowed, is made the picture's.
    """
    width, height = single(tags, WIDTH), single(tags, HEIGHT)
    if TILES in tags:
        wide, high = single(tags, TILE_WIDTH), single(tags, TILE_HEIGHT)
        limits.check_size(wide, high)
    else:
        tags[ROWS] = (min(single(tags, ROWS, height), height),)
        wide, high = width, max(1, *tags[ROWS])
    starts, sizes = (tags.get(tag, ()) for tag in pieces(tags))
    needed = -(-width // wide) * -(-height // high) * (single(tags, SAMPLES, 1) if by_channel(tags) else 1)
    if not len(starts) == len(sizes) == needed:
        raise PictureError(f"the TIFF file is damaged: it has {len(starts):,} strips; its pixels take {needed:,}")
    ends = max(start + size for start, size in zip(starts, sizes, strict=True))
    if max(ends, sum(sizes)) > len(content):
        raise PictureError(f"the TIFF file is cut short: it has {len(content):,} bytes; its strips end at {ends:,}")


def pieces(tags: Tags) -> tuple[int, int]:
    """The tags that say where the strips or tiles are, and how long."""
    return (TILES, TILE_BYTES) if TILES in tags else (STRIPS, STRIP_BYTES)


def by_channel(tags: Tags) -> bool:
    """Whether each channel has strips of its own."""
    return single(tags, PLANES, 1) == 2  # noqa: PLR2004 - TIFF's own number


def shapes(tags: Tags, order: str) -> Iterator[Shape]:
    """Of every strip or tile; the last strip of a channel may have fewer rows."""
    width, height = single(tags, WIDTH), single(tags, HEIGHT)
    samples, bits = 1 if by_channel(tags) else single(tags, SAMPLES, 1), tags.get(BITS, (1,))[0]
    for number in range(len(tags[pieces(tags)[0]])):
        if TILES in tags:
            yield Shape(single(tags, TILE_HEIGHT), single(tags, TILE_WIDTH), samples, bits, order)
        else:
            rows = single(tags, ROWS)
            top = number % -(-height // rows) * rows
            yield Shape(min(rows, height - top), width, samples, bits, order)


def decoded(tags: Tags, content: bytes, order: str, limits: Limits) -> bytearray:
    """All strips without their compression, as they stand from byte 8; the tags are made to say so.

    Raises:
        PictureError: more memory or time is needed than the limits allow, or a strip is damaged.
    """
    where, lengths = pieces(tags)
    method, predictor = tags.pop(COMPRESSION)[0], tags.pop(PREDICTOR, (1,))[0]
    wanted = list(shapes(tags, order))
    core = 4 if single(tags, SAMPLES, 1) > 1 or wanted[0].bits > 8 else 1  # noqa: PLR2004 - Pillow's bytes of a pixel
    total = sum(shape.size for shape in wanted)
    limits.check_decoder_bytes((total,), (core, single(tags, WIDTH), single(tags, HEIGHT)))
    if method in strips.IN_PYTHON:
        within("bytes in LZW or PackBits", sum(tags[lengths]), limits.slow_bytes)
    out, starts = bytearray(), []
    for start, length, shape in zip(tags[where], tags[lengths], wanted, strict=True):
        starts.append(8 + len(out))
        out += strips.uncompressed(content[start : start + length], method, shape, predictor)
    tags[where], tags[lengths] = tuple(starts), tuple(shape.size for shape in wanted)
    return out


def packed(tags: Tags, order: str, place: int) -> bytes:
    """A directory, the only one, as it stands at that place in a file."""
    entries, after = [struct.pack(order + "H", len(tags))], b""
    free = place + 2 + len(tags) * ENTRY_BYTES + 4
    for tag, values in sorted(tags.items()):
        kind = LONG if tag in LONGS else SHORT
        data = struct.pack(f"{order}{len(values)}{CODES[kind]}", *values)
        entries.append(struct.pack(order + "HHI", tag, kind, len(values)))
        if len(data) > 4:  # noqa: PLR2004 - bytes in the entry itself
            entries.append(struct.pack(order + "I", free + len(after)))
            after += data
        else:
            entries.append(data.ljust(4, b"\0"))
    return b"".join([*entries, bytes(4), after])
