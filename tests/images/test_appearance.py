"""Warnings about arrays of digits: none about MNIST, and one with its remedy about each fault of others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from digits.images import mnist
from digits.images.appearance import warnings

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


def test_mnist_whole_in_pieces_or_by_label_gives_no_warning_and_one_if_inverted(sets: list[NDArray[np.uint8]]) -> None:
    for digits in sets:
        assert warnings(digits) == []
        assert warnings((digits > 127) * np.uint8(255)) == []
        (found,) = warnings(255 - digits)
        assert found.startswith(INVERTED)


def test_transposed_digits_give_a_warning_from_fifty_mixed_ones_on(data: Mnist, sets: list[NDArray[np.uint8]]) -> None:
    for digits in (*sets[:12], *(data.x_test[start : start + 50] for start in range(0, 1000, 50))):
        (found,) = warnings(digits.swapaxes(1, 2))
        assert found.startswith(TRANSPOSED)
        both = warnings(255 - digits.swapaxes(1, 2))
        assert [both[0].startswith(INVERTED), both[1].startswith(TRANSPOSED)] == [True, True]


def test_pixels_of_0_and_1_give_a_warning_but_not_blank_images(data: Mnist) -> None:
    (found,) = warnings(data.x_test[:20] // 128)
    assert found.startswith(FAINT)
    assert warnings(np.zeros((20, 28, 28), np.uint8)) == []
