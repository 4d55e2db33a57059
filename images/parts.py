"""The connected parts of a picture's ink."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Labels = NDArray[np.intp]


def extent(mask: Mask) -> tuple[slice, slice]:
    """The rows and columns of the box around the pixels that are true, of which there must be some."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def grown(mask: Mask) -> Mask:
    """The mask and its neighbours in eight directions, bool [h, w]."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall


def outline(mask: Mask) -> Mask:
    """The pixels of the mask next to one outside it or to the picture's border: above, below, left or right."""
    wide = np.pad(mask, 1)
    return mask & ~(wide[2:, 1:-1] & wide[:-2, 1:-1] & wide[1:-1, 2:] & wide[1:-1, :-2])


def thickness(mask: Mask) -> float:
    """The mean thickness of strokes: their area by half the length of their outline."""
    return 2 * float(mask.sum()) / max(1.0, float(outline(mask).sum()))


def numbers(labels: Labels) -> Labels:
    """The numbers of the parts, ascending."""
    return np.unique(labels[labels > 0])


def boxes(labels: Labels) -> Labels:
    """Top, left, bottom and right of each number except 0, intp [parts, 4]; bottom and right are just outside."""
    rows, columns = np.nonzero(labels)
    numbers, part = np.unique(labels[rows, columns], return_inverse=True)
    found = np.empty((numbers.size, 4), np.intp)
    found[:, :2], found[:, 2:] = max(labels.shape), 0
    for column, (least, places) in enumerate([(True, rows), (True, columns), (False, rows + 1), (False, columns + 1)]):
        (np.minimum if least else np.maximum).at(found[:, column], part, places)
    return found


def connected(mask: Mask) -> Labels:
    """A number for each part connected along rows and columns, intp [h, w], 0 outside: its last pixel's, from 1.

    Runs of pixels in neighbouring rows that touch are joined: each run takes the largest number that it touches, until
    nothing changes. Two rounds at least halve the runs to join, so any maze takes a few milliseconds at most.
    """
    height, width = mask.shape
    flat = np.pad(mask, ((0, 0), (0, 1))).ravel()  # a column of False, so that no run crosses rows
    starts = flat & ~np.concatenate([[False], flat[:-1]])
    runs = np.where(flat, np.cumsum(starts), 0).reshape(height, width + 1)[:, :-1]
    ends = np.flatnonzero(flat & ~np.concatenate([flat[1:], [False]]))
    numbers = np.concatenate([[0], ends - ends // (width + 1) + 1])
    touching = (runs[:-1] > 0) & (runs[1:] > 0)
    return numbers[_joined(numbers.size, runs[:-1][touching], runs[1:][touching])][runs]


def _joined(count: int, above: Labels, below: Labels) -> Labels:
    """For each of 0 to count - 1, intp [count], the largest that pairs of above[i] and below[i] join it to."""
    root = np.arange(count)
    while above.size:
        lower, higher = np.minimum(above, below), np.maximum(above, below)
        np.maximum.at(root, lower, higher)
        while (further := root[root]).tobytes() != root.tobytes():
            root = further
        above, below = root[lower], root[higher]
        apart = above != below
        above, below = above[apart], below[apart]
    return root
