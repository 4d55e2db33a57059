"""The paper's grey values, also under the ink: a smooth surface, since light is seldom even.

A polynomial is fitted by least squares, again and again without the pixels far from the last fit (iterative trimming;
Rousseeuw and Leroy, "Robust Regression and Outlier Detection", 1987): first a quadratic through the border, which is
mostly paper, then a quartic through all pixels near it. The light of a lamp and the dark corners of a lens are that
smooth; a shadow with a hard edge is not.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Scalar = TypeVar("Scalar", bound=np.generic)
Grey = NDArray[np.float32]
Greys = NDArray[np.float32 | np.uint8]
Floats = NDArray[np.floating[Any]]

SIDE = 32  # cells along the longer side: the surface is fitted to their means
DEGREE = 4
POWERS = [(down, total - down) for total in range(DEGREE + 1) for down in range(total + 1)]
QUADRATIC = 6  # of the powers, those up to degree 2
ROUNDS = 3
NEAR = 4  # times the median distance from the surface: pixels nearer than this are paper
EXACT = 1.0  # grey level that is always near
# How strongly each factor is pulled to 0, since a large digit leaves no paper to fit: the first six hardly at all.
PULL = np.where(np.arange(len(POWERS)) < QUADRATIC, 1e-4, 1e-3)


def border(grey: NDArray[Scalar]) -> NDArray[Scalar]:
    """The outermost pixels, flat."""
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def surface(grey: Grey) -> Grey:
    """The paper's grey values, float32 [h, w], of a picture's, float32 [h, w]."""
    cell = -(-max(grey.shape) // SIDE)
    small = np.asarray(Image.fromarray(grey).reduce(cell)) if cell > 1 else grey
    down, across = (_powers(shorter, cell, longer) for shorter, longer in zip(small.shape, grey.shape, strict=True))
    terms = np.stack([np.outer(down[i], across[j]).ravel() for i, j in POWERS], axis=1)
    factors = _fitted(small, terms)
    grid = np.zeros((DEGREE + 1, DEGREE + 1))
    grid[tuple(np.transpose(POWERS))] = factors
    down, across = (_powers(n, 1, n) for n in grey.shape)
    return np.asarray(down.T @ grid @ across, np.float32)


def _powers(count: int, cell: int, length: int) -> Floats:
    """The powers 0 to DEGREE, [DEGREE + 1, count], of the places of cells' middles along `length` pixels, -1 to 1."""
    places = np.minimum((np.arange(count) + 0.5) * (2 * cell / length) - 1, 1)
    return np.asarray(places ** np.arange(DEGREE + 1)[:, None])


def _fitted(small: Grey, terms: Floats) -> Floats:
    """The factors of the terms, which are [pixels, powers], for the surface through the pixels that are paper."""
    values = small.ravel().astype(np.float64)
    places = border(np.arange(values.size).reshape(small.shape))
    edge, edges = values[places], terms[places, :QUADRATIC]
    near, off, quadratic = np.full(edge.shape, fill_value=True), edge, np.zeros(QUADRATIC)
    for _ in range(ROUNDS):
        quadratic = np.linalg.lstsq(edges[near], edge[near])[0]
        off = np.abs(edge - edges @ quadratic)
        near = off <= 2 * np.median(off) + EXACT / 2
    factors: Floats = np.pad(quadratic, (0, len(POWERS) - QUADRATIC))
    spread = NEAR * np.median(off) + EXACT
    for _ in range(ROUNDS):
        paper = terms * (np.abs(values - terms @ factors) <= spread)[:, None]
        factors = np.linalg.solve(paper.T @ terms + np.diag(PULL * values.size), paper.T @ values)
    return factors
