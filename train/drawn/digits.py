"""Digits in styles that MNIST has few of: flag and base on 1, crossbar on 7, open and closed 4, curly 9, and others.

They are drawn from the strokes below, from fonts, and by strokes that are added to MNIST's own digits.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from digits.images.digit import CLASSES, SIDE
from digits.train.drawn.fonts import TRAINING, glyph, load
from digits.train.drawn.pen import Ink, Points, as_ink, drawn, worn

# Of each digit: styles as strokes. A style that MNIST has few of is there more than once.
LOOP = [(0.78, 0.22), (0.45, 0.02), (0.18, 0.28), (0.42, 0.55), (0.75, 0.35), (0.78, 0.22)]
STYLES: dict[int, list[list[Points]]] = {
    0: [[[(0.5, 0.0), (0.12, 0.35), (0.2, 0.85), (0.55, 1.0), (0.88, 0.6), (0.78, 0.1), (0.5, 0.0)]]],
    1: [
        [[(0.25, 0.25), (0.55, 0.0)], [(0.55, 0.0), (0.52, 1.0)]],
        [[(0.1, 0.5), (0.58, 0.0)], [(0.58, 0.0), (0.55, 1.0)]],
        [[(0.28, 0.22), (0.52, 0.0)], [(0.52, 0.0), (0.52, 1.0)], [(0.22, 1.0), (0.82, 1.0)]],
        [[(0.3, 0.15), (0.52, 0.02)], [(0.52, 0.0), (0.5, 1.0)], [(0.3, 1.0), (0.7, 1.0)]],
        [[(0.5, 0.0), (0.5, 1.0)], [(0.2, 1.0), (0.8, 1.0)]],
        [[(0.5, 0.0), (0.5, 1.0)]],
    ],
    2: [
        [[(0.15, 0.25), (0.45, 0.0), (0.78, 0.25), (0.5, 0.6), (0.12, 0.98)], [(0.12, 0.98), (0.88, 0.98)]],
        [[(0.2, 0.2), (0.5, 0.0), (0.75, 0.3), (0.3, 0.9), (0.15, 0.8), (0.4, 0.82), (0.9, 1.0)]],
    ],
    3: [
        [[(0.18, 0.12), (0.5, 0.0), (0.75, 0.22), (0.42, 0.46)], [(0.42, 0.46), (0.82, 0.7), (0.5, 1.0), (0.12, 0.86)]],
        [[(0.15, 0.02), (0.8, 0.02)], [(0.8, 0.02), (0.42, 0.4)], [(0.42, 0.4), (0.85, 0.7), (0.5, 1.0), (0.12, 0.9)]],
    ],
    4: [
        [[(0.28, 0.0), (0.1, 0.58)], [(0.1, 0.58), (0.9, 0.58)], [(0.7, 0.22), (0.66, 1.0)]],
        [[(0.62, 0.0), (0.06, 0.66)], [(0.06, 0.66), (0.94, 0.66)], [(0.62, 0.0), (0.62, 1.0)]],
        [[(0.2, 0.05), (0.18, 0.5), (0.5, 0.55), (0.78, 0.42)], [(0.8, 0.0), (0.76, 1.0)]],
    ],
    5: [
        [[(0.82, 0.02), (0.25, 0.02)], [(0.25, 0.02), (0.2, 0.42)],
         [(0.2, 0.42), (0.55, 0.36), (0.82, 0.66), (0.55, 0.98), (0.12, 0.88)]],
        [[(0.85, 0.05), (0.4, 0.08), (0.25, 0.42), (0.65, 0.45), (0.78, 0.75), (0.5, 1.0), (0.12, 0.92)]],
    ],
    6: [
        [[(0.75, 0.05), (0.35, 0.3), (0.15, 0.7), (0.42, 1.0), (0.78, 0.78), (0.52, 0.52), (0.18, 0.72)]],
        [[(0.82, 0.12), (0.55, 0.0), (0.25, 0.3), (0.15, 0.7), (0.45, 1.0), (0.8, 0.75), (0.5, 0.5), (0.2, 0.7)]],
        [[(0.6, 0.0), (0.2, 0.65), (0.4, 0.98), (0.75, 0.8), (0.55, 0.58), (0.22, 0.75)]],
    ],
    7: [
        [[(0.12, 0.04), (0.85, 0.02)], [(0.85, 0.02), (0.58, 0.45), (0.38, 1.0)], [(0.28, 0.5), (0.84, 0.48)]],
        [[(0.12, 0.2), (0.14, 0.04)], [(0.14, 0.04), (0.85, 0.02)], [(0.85, 0.02), (0.45, 1.0)],
         [(0.35, 0.52), (0.85, 0.46)]],
        [[(0.12, 0.2), (0.14, 0.04)], [(0.14, 0.04), (0.85, 0.02)], [(0.85, 0.02), (0.55, 0.45), (0.4, 1.0)]],
        [[(0.15, 0.04), (0.85, 0.02)], [(0.85, 0.02), (0.4, 1.0)]],
    ],
    8: [
        [[(0.75, 0.12), (0.4, 0.0), (0.22, 0.22), (0.5, 0.46), (0.82, 0.75), (0.5, 1.0), (0.18, 0.76), (0.48, 0.48),
          (0.76, 0.25), (0.72, 0.1)]],
    ],
    9: [
        [LOOP, [(0.78, 0.2), (0.8, 0.65), (0.55, 0.98), (0.2, 0.88)]],
        [LOOP, [(0.78, 0.2), (0.76, 0.75), (0.45, 1.0), (0.15, 0.85), (0.2, 0.72)]],
        [LOOP, [(0.78, 0.2), (0.7, 1.0)]],
    ],
}  # fmt: skip
WEAK = (1, 1, 4, 6, 7, 9, 9)  # are drawn more often
MORE = 0.4  # share of the drawn ones that is one of these
ALTERED = 0.35  # share of MNIST's own digits
FONTS = 0.3  # share from fonts
HALF = 128  # of full ink
FLAG, BASE, CROSSBAR = 0.8, 0.5, 0.8  # share of MNIST's digits that get one


def drawn_digits(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """So many drawn digits, uint8 [count, 28, 28], and what they show, uint8 [count].

    Args:
        images: MNIST's training digits, uint8 [n, 28, 28].
        labels: What these show, uint8 [n].
        count: How many.
        rng: Draws the lots.
    """
    faces = [load(name) for name in TRAINING]
    found, shown = np.zeros((count, SIDE, SIDE), np.uint8), np.zeros(count, np.uint8)
    for i, kind in enumerate(rng.choice(("altered", "font", "drawn"), count, p=(ALTERED, FONTS, 1 - ALTERED - FONTS))):
        digit = int(rng.choice(WEAK) if rng.random() < MORE else rng.integers(CLASSES))
        if kind == "altered":
            which = int(rng.integers(len(images)))
            digit = int(labels[which])
            image = altered(images[which], digit, rng)
        elif kind == "font":
            image = glyph(str(digit), faces[int(rng.integers(len(faces)))])
        else:
            image = drawn(STYLES[digit][int(rng.integers(len(STYLES[digit])))], rng)
        found[i], shown[i] = worn(image, rng), digit
    return found, shown


def altered(image: NDArray[np.uint8], digit: int, rng: np.random.Generator) -> Ink:
    """A digit of MNIST's, larger; a 1 may get a flag and a base, a 7 a crossbar."""
    picture = Image.fromarray(image).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC)
    inked = np.asarray(picture) > HALF
    rows = np.flatnonzero(inked.any(axis=1))
    if digit not in {1, 7} or len(rows) < SIDE:
        return as_ink(picture)  # a 1 that lies, for one
    pencil, width = ImageDraw.Draw(picture), int(rng.integers(3, 7))
    top, bottom = int(rows[0]), int(rows[-1])
    size = bottom - top

    def middle(row: int) -> float:
        return float(np.flatnonzero(inked[row]).mean()) if inked[row].any() else float(SIDE)

    if digit == 1 and rng.random() < FLAG:
        x, reach = middle(top + 2), size * rng.uniform(0.12, 0.45)
        pencil.line((x, top + 2, x - reach, top + reach * rng.uniform(0.5, 1.1)), 255, width)
    if digit == 1 and rng.random() < BASE:
        x, reach = middle(bottom), size * rng.uniform(0.15, 0.4)
        pencil.line((x - reach, bottom, x + reach, bottom + rng.uniform(-2, 2)), 255, width)
    if digit == 7 and rng.random() < CROSSBAR:  # noqa: PLR2004 - the digit
        row = top + int(size * rng.uniform(0.42, 0.62))
        x, reach = middle(row), size * rng.uniform(0.18, 0.4)
        pencil.line((x - reach, row + rng.uniform(-1, 3), x + reach, row - rng.uniform(-1, 3)), 255, width)
    return as_ink(picture)
