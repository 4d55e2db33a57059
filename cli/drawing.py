"""A picture, what the model sees of it, and the ten probabilities, side by side in a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from digits.images.digit import SIDE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray

BAR = 12  # columns of a probability of 1
RAMP = " .:-=+*#%@"  # from black to white, for terminals without colours
BEHIND = "#808080"  # what is behind a transparent picture
EIGHTHS = " ▏▎▍▌▋▊▉█"


class Terminal(NamedTuple):
    """What the reader's terminal can show.

    Attributes:
        colours: Whether it takes 24-bit colours.
        blocks: Whether it takes characters other than ASCII.
    """

    colours: bool
    blocks: bool

    @classmethod
    def of(cls, stream: TextIO) -> Terminal:
        """By the stream and the environment: a file or a pipe gets no colours, nor who says NO_COLOR."""
        plain = not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        return cls(not plain, (stream.encoding or "").lower().startswith("utf"))


def draw(file: Path, digit: NDArray[np.uint8], probabilities: Sequence[float], terminal: Terminal) -> Iterator[str]:
    """The lines of the drawing, 80 columns wide.

    Args:
        file: A picture that can be read.
        digit: What the model sees of it, uint8 [28, 28].
        probabilities: Of the digits 0 to 9.
        terminal: What can be shown.
    """
    left, middle = lines(_thumbnail(file), terminal), lines(np.stack([digit] * 3, axis=2), terminal)
    right = ["", "", *_bars(probabilities, terminal), "", ""]
    yield f"{'the picture':{SIDE}}   {'what the model sees':{SIDE}}   probabilities"
    for columns in zip(left, middle, right, strict=True):
        yield "   ".join(columns).rstrip()


def upright(file: Path, longest: int | None = None) -> Image.Image:
    """A picture that can be read, turned as it says, RGBA. If only so many pixels a side matter, it may be smaller."""
    with Image.open(file) as opened:
        if longest is not None:
            opened.draft("RGB", (4 * longest, 4 * longest))
        picture = ImageOps.exif_transpose(opened)
        if picture.mode[0] in "IF":  # 16 bits and more: from its darkest to its lightest
            values = np.asarray(picture, np.float64)
            picture = Image.fromarray(((values - values.min()) * (255 / (np.ptp(values) or 1))).astype(np.uint8))
        return picture.convert("RGBA")


def _thumbnail(file: Path) -> NDArray[np.uint8]:
    """The picture, upright, as it fits into 28 x 28, on grey: uint8 [28, 28, 3]."""
    picture = ImageOps.contain(upright(file, SIDE), (SIDE, SIDE), Image.Resampling.BOX)
    paper = Image.new("RGB", (SIDE, SIDE), BEHIND)
    paper.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2), picture)
    return np.asarray(paper)


def lines(pixels: NDArray[np.uint8], terminal: Terminal) -> list[str]:
    """Pixels, uint8 [h, w, 3], as h / 2 lines of w columns, each of two pixels one above the other; h is even."""
    upper, lower = pixels[::2], pixels[1::2]
    if terminal.colours and terminal.blocks:
        return [
            "".join(
                f"\x1b[38;2;{r};{g};{b};48;2;{x};{y};{z}m▀" for (r, g, b), (x, y, z) in zip(top, bottom, strict=True)
            )
            + "\x1b[0m"
            for top, bottom in zip(upper.tolist(), lower.tolist(), strict=True)
        ]
    grey = (upper.mean(axis=2) + lower.mean(axis=2)) / 2
    return ["".join(RAMP[int(value * len(RAMP) / 256)] for value in row) for row in grey]


def _bars(probabilities: Sequence[float], terminal: Terminal) -> Iterator[str]:
    for digit, probability in enumerate(probabilities):
        eighths = round(probability * BAR * 8)
        bar = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip() if terminal.blocks else "#" * round(eighths / 8)
        yield f"{digit} {probability:6.1%} {bar}"
