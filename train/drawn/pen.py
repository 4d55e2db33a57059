"""A pen: strokes through points become ink, and ink becomes an image like MNIST's, worn as real pictures are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from digits.images import ink
from digits.images.digit import SIDE

Ink = NDArray[np.float32]  # from 0 to 1, [h, w]
Points = Sequence[tuple[float, float]]  # x to the right and y down, about 0 to 1

CANVAS = 64  # pixels a side
MARGIN = 12  # pixels around the square of 0 to 1
JITTER = 0.03  # the standard deviation of a point's place
THINNEST, THICKEST = 2.0, 7.0  # pixels of a stroke on the canvas
SLANT = 0.35  # the largest shear, to either side
STRETCH = 1.35  # the largest ratio of width to height, and of height to width
STROKES = ("as it is", "thicker", "thinner", "blurred")
SHARES = (0.6, 0.15, 0.05, 0.2)  # of these
COARSE = 0.15  # share of pictures with few pixels
COARSEST, FINEST = 8, 20  # pixels along the longer side of these
REMNANTS = 0.08  # share of the images with a rest of a line


def drawn(strokes: Sequence[Points], rng: np.random.Generator) -> Ink:
    """Strokes with round ends, each a smooth curve through its points, which are moved a little."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    pencil, width = ImageDraw.Draw(canvas), float(rng.uniform(THINNEST, THICKEST))
    for stroke in strokes:
        points = np.array(stroke) + rng.normal(0, JITTER, (len(stroke), 2))
        path = MARGIN + smooth(points) * (CANVAS - 2 * MARGIN)
        pencil.line([*map(tuple, path)], 255, round(width), joint="curve")
        for x, y in (path[0], path[-1]):
            pencil.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), 255)
    return as_ink(canvas)


def smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve through points [n, 2]: Catmull and Rom's spline, which is a straight line through two."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, 9)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return np.concatenate(pieces)


def as_ink(picture: Image.Image) -> Ink:
    """The ink of a grey picture, of which 255 is full ink."""
    return np.asarray(picture, np.float32) / np.float32(255)


def worn(image: Ink, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Ink as an image uint8 [28, 28], placed as MNIST's are.

    By lot it is slanted, stretched, thicker or thinner, blurred, of few pixels, or next to a rest of a line.
    """
    picture = _leaned(Image.fromarray(np.asarray(image * 255, np.uint8)), rng)
    picture = _stroked(picture, str(rng.choice(STROKES, p=SHARES)), rng)
    if rng.random() < COARSE:
        picture = _coarse(picture, int(rng.integers(COARSEST, FINEST)))
    values = np.asarray(picture, np.float32)
    placed = ink.place(values / values.max()) if values.any() else np.zeros((SIDE, SIDE), np.uint8)
    return _with_remnant(placed, rng) if rng.random() < REMNANTS else placed


def _leaned(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Slanted, mostly a little, and stretched around its middle."""
    slant, stretch = rng.uniform(-SLANT, SLANT) * rng.random(), STRETCH ** rng.uniform(-1, 1)
    across, shear = 1 / stretch, slant / stretch
    start = picture.width / 2 * (1 - across) - picture.height / 2 * shear
    return picture.transform(
        picture.size, Image.Transform.AFFINE, (across, shear, start, 0, 1, 0), Image.Resampling.BILINEAR
    )


def _stroked(picture: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    if kind == "blurred":
        return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    rank = {"thicker": ImageFilter.MaxFilter(3), "thinner": ImageFilter.MinFilter(3)}.get(kind)
    filtered = picture if rank is None else picture.filter(rank)
    return filtered if filtered.getbbox() else picture  # of the thinnest stroke nothing may be left


def _coarse(picture: Image.Image, side: int) -> Image.Image:
    """Its ink in so many pixels along the longer side."""
    box = picture.getbbox() or (0, 0, *picture.size)
    scale = side / max(box[2] - box[0], box[3] - box[1])
    size = max(2, round((box[2] - box[0]) * scale)), max(2, round((box[3] - box[1]) * scale))
    return picture.crop(box).resize(size, Image.Resampling.BOX)


def _with_remnant(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """With a rest of a line near one border, as a frame or a ruled page leaves it."""
    length, row, turns = int(rng.integers(3, FINEST)), int(rng.integers(1, 4)), int(rng.integers(4))
    start, level = int(rng.integers(2, SIDE - 2 - length)), np.uint8(rng.integers(80, 256))
    turned = np.rot90(image, turns).copy()
    turned[row, start : start + length] = np.maximum(turned[row, start : start + length], level)
    return np.ascontiguousarray(np.rot90(turned, -turns))
