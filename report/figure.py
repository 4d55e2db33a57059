"""What all figures share: colours, resolution, axes, and their encoding as PNG.

Readers with a colour vision deficiency can tell the colours apart. Two are from M. Okabe and K. Ito, "Color Universal
Design", 2008; those for runs are from M. A. Petroff, "Accessible Color Sequences for Data Visualization",
arXiv:2107.02270.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6B6B6B"
RUNS = (
    *("#3F90DA", "#FFA90E", "#BD1F01", "#832DB6", "#717581"),
    *("#A96B59", "#E76300", "#92DADD", "#94A4A2", "#B9AC70"),
)


def png(figure: Figure) -> bytes:
    """The figure as PNG. The same figure gives the same bytes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font may lack a character of a run's name
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def tidy(axes: Axes) -> None:
    """Draws a faint grid behind the data, and removes the frame above and at the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
