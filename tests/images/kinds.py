"""Pictures of a digit as people have them: small and moved, cropped tightly, in a form's cell, on ruled paper."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from digits.tests.images.test_photos import coverage, fibres

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Digit = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Rng = np.random.Generator

SEEN = 30  # of 255: where a digit begins
FINER = 4  # lines are drawn in so many times the pixels


class Sheet(NamedTuple):
    """A digit's ink on an empty sheet, from 0 to 1.

    Attributes:
        ink: float32 [h, w].
        box: Top, left, bottom and right of the digit; bottom and right are just outside.
        side: How many pixels a MNIST image's side has.
    """

    ink: Floats
    box: tuple[int, int, int, int]
    side: int


def cut(values: Digit, least: float) -> Digit:
    """What is above `least`, without what is around it."""
    rows, columns = (np.flatnonzero((values > least).any(axis=axis)) for axis in (1, 0))
    return values[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def saved(values: NDArray[np.floating], rng: Rng | None = None) -> bytes:
    """A PNG; with a generator, a PNG or a JPEG."""
    file = io.BytesIO()
    image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if rng is None or rng.random() < 0.5:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=int(rng.integers(60, 95)))
    return file.getvalue()


def scanned(ink: Floats, rng: Rng, lines: Floats | None = None, tones: tuple[float, float] = (0, 150)) -> bytes:
    """Ink and lines of one of the tones, each from 0 to 1, on nearly white paper; or the negative of that."""
    paper, pen = rng.uniform(225, 255), rng.uniform(0, 110)
    values = paper + (pen - paper) * ink
    if lines is not None:
        values = np.minimum(values, paper + (rng.uniform(*tones) - paper) * lines)
    if rng.random() < 0.3:
        values = 255 - values
    return saved(values + rng.standard_normal(values.shape) * rng.uniform(0, 5), rng)


def sheet(digit: Digit, rng: Rng, margin: float = 0.05, below: float = 0) -> Sheet:
    """A digit anywhere on a sheet of about its size, no nearer to the border than the margin.

    Args:
        digit: uint8 [28, 28].
        rng: What everything is drawn from.
        margin: Of a MNIST image's side.
        below: The same, in addition, below the digit.
    """
    side = round(float(np.exp(rng.uniform(*np.log((40, 200))))))
    inked = coverage(digit, side, rng)
    near, low = 2 + round(margin * side), round(below * side)
    longest = max(inked.shape)
    height, width = (max(n + 2 * near, int(longest * rng.uniform(1.4, 2.2))) for n in inked.shape)
    top, left = (int(rng.integers(near, n - of - near + 1)) for n, of in zip((height, width), inked.shape, strict=True))
    ink = np.zeros((height + low, width), np.float32)
    bottom, right = top + inked.shape[0], left + inked.shape[1]
    ink[top:bottom, left:right] = inked
    return Sheet(ink, (top, left, bottom, right), side)


def straight(shape: tuple[int, ...], ends: Sequence[tuple[float, float, float, float]], width: float) -> Floats:
    """Lines of a width between the ends, each x, y, x, y; from 0 to 1."""
    image = Image.new("L", (shape[1] * FINER, shape[0] * FINER))
    for one in ends:
        ImageDraw.Draw(image).line([FINER * place for place in one], fill=255, width=max(1, round(FINER * width)))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BOX), np.float32) / np.float32(255)


def moved(digit: Digit, rng: Rng) -> bytes:
    """28 x 28, light on dark, half as large to as large as it was, anywhere."""
    side = int(rng.integers(14, 29))
    small = cut(np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)), SEEN)
    image = np.zeros((28, 28))
    top, left = (int(rng.integers(0, 29 - n)) for n in small.shape)
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    return saved(image)


def tight(digit: Digit, rng: Rng) -> bytes:
    """Cropped with margins of 0 to 5 % of its size."""
    inked = coverage(digit, round(float(np.exp(rng.uniform(*np.log((24, 240)))))), rng)
    return scanned(np.pad(inked, round(0.01 * float(rng.integers(0, 6)) * max(inked.shape))), rng)


def coarse(digit: Digit, rng: Rng) -> bytes:
    """Cropped without a margin and reduced to 8 to 32 pixels, as in old data sets: square, or of its own shape."""
    side = int(rng.choice([8, 10, 12, 16, 20, 24, 32]))
    ink = cut(digit, SEEN).astype(np.float32) / 255
    if rng.random() < 0.5:
        missing = [max(ink.shape) - n for n in ink.shape]
        ink = np.pad(ink, [(n // 2, n - n // 2) for n in missing])
    width, height = (max(3, round(side * n / max(ink.shape))) for n in ink.shape[::-1])
    how = Image.Resampling.BOX if rng.random() < 0.5 else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(ink).resize((width, height), how)).clip(0, 1)
    return saved(255 * (small if rng.random() < 0.5 else 1 - small))


def framed(digit: Digit, rng: Rng) -> bytes:
    """In the cell of a form: a frame at the border or inside, of two to four sides, some turned, some longer."""
    one = sheet(digit, rng, margin=0.2)
    height, width = one.ink.shape
    thick = max(1, one.side * rng.uniform(0.01, 0.05))
    inset = float(rng.choice([0, rng.uniform(0, 0.1)])) * one.side
    place, start = inset + thick / 2, 0.0 if rng.random() < 0.3 else inset
    lean = rng.uniform(-0.02, 0.02) if rng.random() < 0.4 else 0
    down, across = lean * height / 2, lean * width / 2
    ends = [
        (start, place - across, width - start, place + across),
        (start, height - place - across, width - start, height - place + across),
        (place + down, start, place - down, height - start),
        (width - place + down, start, width - place - down, height - start),
    ]
    sides = range(4) if rng.random() < 0.6 else rng.permutation(4)[: rng.integers(2, 4)]
    return scanned(one.ink, rng, straight(one.ink.shape, [ends[number] for number in sides], thick))


def ruled(digit: Digit, rng: Rng) -> bytes:
    """On ruled or squared paper, some of it turned."""
    one = sheet(digit, rng)
    height, width = one.ink.shape
    step, lean = one.side * rng.uniform(0.25, 1.2), rng.uniform(-0.02, 0.02) if rng.random() < 0.4 else 0
    down, across = lean * height / 2, lean * width / 2
    ends = [(-2.0, y - across, width + 2.0, y + across) for y in np.arange(rng.uniform(0, step), height, step)]
    if rng.random() < 0.4:
        ends += [(x + down, -2.0, x - down, height + 2.0) for x in np.arange(rng.uniform(0, step), width, step)]
    thick = max(1, one.side * rng.uniform(0.008, 0.02))
    return scanned(one.ink, rng, straight(one.ink.shape, ends, thick), tones=(90, 215))


def underlined(digit: Digit, rng: Rng) -> bytes:
    """A line below the digit or through its foot, longer than the digit or as long as the sheet, some of it turned."""
    one = sheet(digit, rng, below=0.12)
    height, width = one.ink.shape
    _, left, bottom, right = one.box
    thick = max(1, one.side * rng.uniform(0.015, 0.05))
    y = min(height - thick, bottom + rng.uniform(-0.02, 0.1) * one.side)
    start, stop = rng.uniform(0, 0.1) * width, width - rng.uniform(0, 0.1) * width
    if rng.random() < 0.3:
        more = one.side * rng.uniform(0.2, 0.4, 2)
        start, stop = max(0, left - more[0]), min(width, right + more[1])
    across = (rng.uniform(-0.03, 0.03) if rng.random() < 0.6 else 0) * (stop - start) / 2
    return scanned(one.ink, rng, straight(one.ink.shape, [(start, y - across, stop, y + across)], thick))


def shadowed(digit: Digit, rng: Rng) -> bytes:
    """On a page of which a part next to the digit is in the shadow of something with a clear edge."""
    one = sheet(digit, rng, margin=0.3)
    paper, pen = rng.uniform(190, 250), rng.uniform(10, 90)
    values = paper + (pen - paper) * one.ink * rng.uniform(0.8, 1)
    y, x = np.mgrid[: one.ink.shape[0], : one.ink.shape[1]]
    angle, soft = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.2) * one.side
    place = np.cos(angle) * x + np.sin(angle) * y
    edge = place[one.ink > 0.05].max() + soft / 2 + rng.uniform(0.03, 0.15) * one.side
    dark = np.clip((place - edge) / soft + 0.5, 0, 1) * rng.uniform(0.4, 0.85)
    return saved(values * (1 - dark) + 0.6 * fibres(values.shape, rng), rng)


def thick(digit: Digit, rng: Rng) -> bytes:
    """As a broad pen leaves it, whose holes are small."""
    large = Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC)
    wide = np.asarray(large, np.float32) / 255
    for _ in range(int(rng.integers(3, 7))):
        padded = np.pad(wide, 1)
        wide = np.max([padded[1:-1, 1:-1], padded[2:, 1:-1], padded[:-2, 1:-1], padded[1:-1, 2:], padded[1:-1, :-2]], 0)
    return scanned(np.pad(wide, 8), rng)


def overdrawn(digit: Digit, rng: Rng) -> bytes:
    """Drawn several times over with a pencil, each time a little elsewhere."""
    side = int(rng.integers(90, 200))
    ink = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(2, 4))):
        large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
        off = rng.uniform(-0.03, 0.03, 2) * side
        turned = large.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, translate=(round(off[0]), round(off[1])))
        stroke = np.clip((np.asarray(turned, np.float32) / 255 - 0.5) * 3, 0, 1)
        ink = np.maximum(ink, stroke * rng.uniform(0.6, 1))
    rough = 1 - 0.35 * rng.random(ink.shape, np.float32)
    return scanned(np.pad(ink * rough, 10), rng)


KINDS: dict[str, Callable[[Digit, Rng], bytes]] = {
    one.__name__: one for one in (moved, tight, coarse, framed, ruled, underlined, shadowed, thick, overdrawn)
}
