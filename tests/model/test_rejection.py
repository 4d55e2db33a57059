"""What the bundled model calls not a digit: letters of unseen fonts, other pictures, and hardly any digit."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from sklearn.datasets import load_sample_images

from digits.client.local import LocalClassifier
from digits.images import mnist, picture
from digits.images.errors import PictureError
from digits.train.drawn.digits import drawn_digits
from digits.train.drawn.fonts import HELD_OUT, LETTERS, SYMBOLS, glyph, load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

    Pixels = NDArray[np.uint8]
    Grey = NDArray[np.float32]


def rejected(pictures: Iterable[Grey | bytes]) -> tuple[float, float]:
    """The share of pictures, grey values or files, without an answer; and the share that is read and not a digit."""
    taken, found = list(pictures), []
    for one in taken:
        content = one
        if not isinstance(content, bytes):
            file = io.BytesIO()
            Image.fromarray(np.clip(content, 0, 255).astype(np.uint8)).save(file, "PNG")
            content = file.getvalue()
        try:
            found.append(picture.decode(content))
        except PictureError:
            continue
    flags = LocalClassifier().classify(np.stack(found)).not_a_digit if found else np.zeros(0, np.bool_)
    assert flags is not None
    return (len(taken) - len(found) + flags.sum()) / len(taken), flags.sum() / len(taken)


def written(texts: str) -> Iterable[Grey]:
    """Glyphs of the fonts for measurements as dark ink on light paper."""
    for name in HELD_OUT:
        face = load(name)
        for text in texts:
            yield np.pad(220 - 190 * glyph(text, face), 12, constant_values=220)


def other_pictures(count: int) -> Iterable[Grey]:
    """Scribbles, clouds, wood, checks, and parts of photos, by a fixed seed."""
    rng = np.random.default_rng(11)
    scenes = [np.asarray(Image.fromarray(image).convert("L"), np.float32) for image in load_sample_images().images]
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:120, :120])
    for number in range(count):
        fine, coarse, cell = rng.uniform(0.07, 0.7), rng.uniform(0.005, 0.05), rng.integers(8, 40, 2)
        spots = Image.fromarray(rng.normal(128, 60, rng.integers(3, 30, 2)).astype(np.float32))
        page = Image.new("L", (200, 160), 230)
        ends = rng.uniform(5, 155, (40, 2))
        ImageDraw.Draw(page).line([(float(across), float(down)) for across, down in ends], fill=30, width=3)
        scene, size = scenes[number % 2], int(rng.integers(24, 300))
        top, left = (int(rng.integers(0, side - size)) for side in scene.shape)
        yield (
            np.asarray(page, np.float32),
            np.asarray(spots.resize((120, 120), Image.Resampling.BICUBIC)),
            140 + 60 * np.sin(x * fine + 4 * np.sin(y * coarse)),
            np.where((y // cell[0] + x // cell[1]) % 2, 60, 200),
            scene[top : top + size, left : left + size],
        )[number % 5]


def photo(digit: Pixels, seed: int, side: int = 100) -> bytes:
    """A JPEG of a digit as dark ink on paper that is lit from one side; MNIST's image is `side` pixels large in it."""
    rng = np.random.default_rng(seed)
    ink = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255
    inked = np.pad(ink, [*map(tuple, rng.integers(side // 10, side, (2, 2)))])
    lit = np.linspace(1, rng.uniform(0.7, 1), inked.shape[1]) * rng.uniform(150, 250)
    grey = lit * (1 - rng.uniform(0.5, 0.9) * inked) + rng.normal(0, rng.uniform(0, 6), inked.shape)
    file = io.BytesIO()
    taken = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(side / 60))
    taken.save(file, "JPEG", quality=int(rng.integers(40, 91)))
    return file.getvalue()


def test_letters_of_fonts_that_training_never_saw_are_not_a_digit() -> None:
    without_answer, not_a_digit = rejected(written(LETTERS))
    print(f"letters: {without_answer:.1%} without an answer, {not_a_digit:.1%} not a digit")
    assert without_answer >= 0.75


def test_symbols_of_these_fonts_are_mostly_not_a_digit() -> None:
    without_answer, _ = rejected(written(SYMBOLS))
    print(f"symbols: {without_answer:.1%}")
    assert without_answer >= 0.75


def test_other_pictures_get_no_answer() -> None:
    without_answer, not_a_digit = rejected(other_pictures(200))
    print(f"other pictures: {without_answer:.1%} without an answer, {not_a_digit:.1%} not a digit")
    assert without_answer >= 0.95


def test_digits_are_digits(data: Mnist) -> None:
    """Of MNIST, as photos, and in the styles that MNIST has few of."""
    flags = LocalClassifier().classify(data.x_test).not_a_digit
    assert flags is not None
    _, photos = rejected(photo(data.x_test[i], i) for i in range(200))
    drawn, shown = drawn_digits(data.x_test, data.y_test, 400, np.random.default_rng(5))
    styles = LocalClassifier().classify(drawn)
    assert styles.not_a_digit is not None
    right = (styles.digits == shown).mean()
    print(f"not a digit: MNIST {flags.mean():.2%}, photos {photos:.2%}, styles {styles.not_a_digit.mean():.2%}")
    print(f"styles: {right:.2%} right")
    assert flags.mean() <= 0.015  # of 1,000; the aim is 1 % of MNIST's test images
    assert photos <= 0.03
    assert styles.not_a_digit.mean() <= 0.03
    assert right >= 0.95


@pytest.mark.slow
@pytest.mark.skipif("DIGITS_DATA" not in os.environ, reason="DIGITS_DATA does not say where all of MNIST is")
def test_at_most_one_percent_of_the_test_images_is_not_a_digit() -> None:
    """And at most 3 % of their photos, also of photos of few pixels."""
    digits = mnist.load(os.environ["DIGITS_DATA"]).x_test
    flags = LocalClassifier().classify(digits).not_a_digit
    assert flags is not None
    _, photos = rejected(photo(digits[i], i) for i in range(0, 10_000, 5))
    _, coarse = rejected(photo(digits[i], i, 28) for i in range(0, 10_000, 20))
    print(f"not a digit: {flags.mean():.2%} of the test images, {photos:.2%} of photos, {coarse:.2%} of coarse ones")
    assert flags.mean() <= 0.01
    assert photos <= 0.03
    assert coarse <= 0.03
