"""Connected parts are those that the simplest algorithm finds, in few steps for any maze."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.images import ink, parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def flooded(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The definition of `connected`: every pixel takes the largest number next to it, until nothing changes."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        wide = np.pad(labels, 1)
        around = np.stack([wide[1:-1, 1:-1], wide[2:, 1:-1], wide[:-2, 1:-1], wide[1:-1, 2:], wide[1:-1, :-2]])
        spread = np.where(mask, around.max(axis=0), 0)
        if np.array_equal(spread, labels):
            return labels
        labels = spread


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.3, 0.5, 0.6, 0.8, 1]))
def test_connected_parts_bear_their_largest_number(h: int, w: int, seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((h, w)) < density
    np.testing.assert_array_equal(parts.connected(mask), flooded(mask))


def staircase(side: int) -> NDArray[np.bool_]:
    """One path of many thousand corners, up and down diagonals: of all mazes the one that took longest."""
    mask = np.zeros((side, side), np.bool_)
    for number, k in enumerate(range(0, 2 * side, 8)):
        rows = np.arange(max(0, k - side + 1), min(k, side - 1) + 1)
        mask[rows, k - rows] = mask[rows, np.minimum(k - rows + 1, side - 1)] = True
        row = rows[0] if number % 2 else rows[-1]
        mask[row : row + 9, k - row] |= bool(number % 2)
        mask[row, k - row : k - row + 9] |= not number % 2
    return mask


def test_a_maze_of_many_corners_takes_few_steps(steps: Callable[..., int]) -> None:
    """A step is one pass over all pixels. Before runs were joined by their roots, it took one for each corner."""
    maze = staircase(ink.GRID)
    corners = int(np.count_nonzero(maze[1:, 1:] & maze[:-1, 1:] & maze[1:, :-1]))
    assert steps(parts.connected, maze) < 500 < corners
