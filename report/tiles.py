"""Small images in rows, as one array and as a figure with labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

GAP = 4  # pixels between two columns of labelled images
LINE = 0.24  # inches of a label's line


def tiles(images: NDArray[Any], columns: int, gap: tuple[int, int]) -> NDArray[np.float64]:
    """The images [n, height, width] in rows of `columns`, with NaN between them: above each and at both sides."""
    (n, height, width), (above, between) = images.shape, gap
    rows = math.ceil(n / columns)
    padded = np.full((rows * columns, height + above, width + between), np.nan)
    padded[:n, above:, between // 2 : between // 2 + width] = images
    return padded.reshape(rows, columns, *padded.shape[1:]).swapaxes(1, 2).reshape(rows * padded.shape[1], -1)


def labelled(images: NDArray[np.uint8], labels: Sequence[str], *, columns: int, inches: float) -> Figure:
    """A figure so many inches wide of uint8 images [n, height, width], dark where 255, each below its label.

    All labels have the same number of lines.
    """
    from matplotlib.figure import Figure

    _, height, width = images.shape
    above = round(LINE * (1 + labels[0].count("\n")) * (width + GAP) * columns / inches)  # pixels for the label
    array = tiles(images / 255, columns, (above, GAP))
    figure = Figure(figsize=(inches, inches * array.shape[0] / array.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(array, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    for i, label in enumerate(labels):
        row, column = divmod(i, columns)
        x, y = (column + 0.5) * (width + GAP) - 0.5, row * (height + above) + above - 1.5
        axes.text(x, y, label, ha="center", va="bottom", fontsize=10, linespacing=1.1)
    return figure
