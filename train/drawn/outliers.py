"""Images that are not digits: letters and symbols from fonts, scribbles, textures, pairs of digits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.images.digit import SIDE
from digits.train.drawn.fonts import LETTERS, OTHER, RICH, SYMBOLS, TRAINING, glyph, load
from digits.train.drawn.pen import Ink, as_ink, drawn, worn

KINDS = ("letter", "symbol", "sign", "scribble", "pair", "texture")
SHARES = (0.43, 0.16, 0.1, 0.13, 0.06, 0.12)  # of these
TEXTURES = ("clouds", "grain", "stripes", "form", "noise")
BOXED = 0.6  # share of the textures that are in a box, as a digit is
QUARTER = 64  # of full ink


def outliers(images: NDArray[np.uint8], count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """So many images uint8 [count, 28, 28] that are not digits; pairs are made of digits uint8 [n, 28, 28]."""
    faces, texts = [load(name) for name in TRAINING], {"symbol": SYMBOLS, "sign": OTHER}
    found = np.zeros((count, SIDE, SIDE), np.uint8)
    for i, kind in enumerate(rng.choice(KINDS, count, p=SHARES)):
        if kind == "texture":
            found[i] = texture(rng)
            continue
        if kind == "letter":
            image = glyph(LETTERS[int(rng.integers(len(LETTERS)))], faces[int(rng.integers(len(faces)))])
        elif kind in texts:
            image = glyph(texts[kind][int(rng.integers(len(texts[kind])))], faces[int(rng.integers(RICH))])
        else:
            image = scribble(rng) if kind == "scribble" else pair(images, rng)
        found[i] = worn(image, rng)
    return found


def scribble(rng: np.random.Generator) -> Ink:
    """One to four strokes back and forth, with more turns than a digit has."""
    strokes = []
    for _ in range(int(rng.integers(1, 5))):
        centre, reach = rng.uniform(0.25, 0.75, 2), rng.uniform(0.3, 0.6)
        points = centre + reach * rng.uniform(-1, 1, (int(rng.integers(6, 14)), 2))
        strokes.append([(float(x), float(y)) for x, y in points])
    return drawn(strokes, rng)


def pair(images: NDArray[np.uint8], rng: np.random.Generator) -> Ink:
    """Two digits next to each other that touch or nearly do."""
    cut = []
    for which in rng.integers(len(images), size=2):
        columns = np.flatnonzero((images[which] > QUARTER).any(axis=0))
        cut.append(images[which][:, columns[0] : columns[-1] + 1])
    gap = np.zeros((SIDE, int(rng.integers(0, 3))), np.uint8)
    both = Image.fromarray(np.concatenate([cut[0], gap, cut[1]], axis=1))
    larger = both.resize((2 * both.width, 2 * both.height), Image.Resampling.BICUBIC)
    return np.pad(as_ink(larger), ((4, 4), (12, 12)))


def texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Clouds, grain, stripes, forms or noise, over all of the image or in a box as a digit's."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    kind = str(rng.choice(TEXTURES))
    if kind == "stripes":
        angle, period = rng.uniform(0, np.pi), rng.uniform(2, 12)
        along = rows * np.cos(angle) + columns * np.sin(angle)
        values = np.sin(along * 2 * np.pi / period + rng.uniform(0, 6))
    elif kind == "form":
        y, x, tall = *rng.uniform(8, 20, 2), rng.uniform(3, 14)
        wide = rng.uniform(tall / 1.8, 14)  # a narrower one would be a 1
        form = np.abs([(rows - y) / tall, (columns - x) / wide])
        values = 1 - (form.max(axis=0) if rng.integers(2) else np.hypot(*form))  # a box, or an ellipse
    else:
        values = clouds({"clouds": int(rng.integers(2, 14)), "grain": 28, "noise": 60}[kind], rng)
        values = values + (kind == "grain") * rng.uniform(0, 2) * clouds(int(rng.integers(2, 8)), rng)
    values = np.clip(values * rng.uniform(0.5, 6) + rng.uniform(-0.5, 0.8), 0, 1)
    if rng.random() < BOXED:
        tall = int(rng.integers(6, 21))
        wide = int(rng.integers(round(0.6 * tall), 21))
        values = values * ((abs(rows - 13.5) < tall / 2) & (abs(columns - 13.5) < wide / 2))
    return np.asarray(np.rint(values * 255), np.uint8)


def clouds(cells: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise [28, 28] of so many spots a side."""
    spots = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(spots).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
