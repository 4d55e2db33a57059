"""What is remarked about arrays of digits: nothing of MNIST's, and what is wrong with others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from digits.images import mnist
from digits.images.appearance import remarks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

FAINT, INVERTED, TRANSPOSED = "no pixel is above", "the borders are bright", "the digits are wider than tall"
SIZES = 1, 5, 10, 20, 50, 250


@pytest.fixture(scope="module")
def sets(data: Mnist) -> list[NDArray[np.uint8]]:
    """The embedded digits whole, in pieces, and by their labels; or those of DIGITS_DATA, if that is set."""
    source = mnist.load(os.environ["DIGITS_DATA"]) if os.environ.get("DIGITS_DATA") else data
    classes = [source.x_train[source.y_train == digit] for digit in range(10)]
    found = [source.x_train, source.x_test, *classes]
    return found + [part[start : start + n] for n in SIZES for part in found[1:] for start in range(0, len(part), 250)]


def test_nothing_is_remarked_about_mnist_whole_in_pieces_or_by_label(sets: list[NDArray[np.uint8]]) -> None:
    for digits in sets:
        assert remarks(digits) == []
        assert remarks((digits > 127) * np.uint8(255)) == []


def test_inverted_digits_are_always_remarked(sets: list[NDArray[np.uint8]]) -> None:
    for digits in sets:
        (found,) = remarks(255 - digits)
        assert found.startswith(INVERTED)


def test_transposed_digits_are_remarked_from_fifty_mixed_ones_on(data: Mnist, sets: list[NDArray[np.uint8]]) -> None:
    for digits in (*sets[:12], *(data.x_test[start : start + 50] for start in range(0, 1000, 50))):
        (found,) = remarks(digits.swapaxes(1, 2))
        assert found.startswith(TRANSPOSED)
        both = remarks(255 - digits.swapaxes(1, 2))
        assert [both[0].startswith(INVERTED), both[1].startswith(TRANSPOSED)] == [True, True]


def test_pixels_of_0_and_1_are_remarked_but_not_blank_images(data: Mnist) -> None:
    (found,) = remarks(data.x_test[:20] // 128)
    assert found.startswith(FAINT)
    assert remarks(np.zeros((20, 28, 28), np.uint8)) == []
