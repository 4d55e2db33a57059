"""A picture with a box around each digit that was read in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digits.cli.drawing import BEHIND, lines, upright
from digits.storage.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from digits.cli.drawing import Terminal
    from digits.client.reading import Reading

COLUMNS = 76  # of a terminal
SMALL, LARGE = 800, 2000  # pixels along the longer side of a figure
CAPTION = 0.03  # of the longer side: the height of a digit above its box
CERTAIN = 0.9  # the confidence from which on a box has the first colour
READ, UNCERTAIN, UNREAD = "#0a7d3c", "#d97706", "#c81e1e"


def write(path: Path, file: Path, reading: Reading) -> None:
    """Writes a PNG of a picture with boxes, each with its digit above it; small pictures are enlarged."""
    picture = upright(file)
    longest = max(picture.size)
    scale = LARGE / longest if longest > LARGE else max(1, round(SMALL / longest))
    figure = _boxed(picture, reading, scale, captions=True)
    with replacing(path) as temporary:
        figure.save(temporary, "PNG")


def draw(file: Path, reading: Reading, terminal: Terminal) -> Iterator[str]:
    """The lines of a drawing of a picture with boxes, and a line for each digit."""
    picture = upright(file)
    scale = min(COLUMNS / picture.width, COLUMNS / picture.height)
    pixels = np.asarray(_boxed(picture, reading, scale, captions=False))
    yield from lines(pixels[: len(pixels) // 2 * 2], terminal)
    yield "row  digit  confidence  left, top, right, bottom"
    for one in reading.digits:
        answer = f"{'?':>5}  {'-':>10}" if one.confidence is None else f"{one.digit:5}  {one.confidence:10.2%}"
        yield f"{one.row:3}  {answer}  {', '.join(map(str, one.box))}" + (f": {one.error}" if one.error else "")


def _boxed(picture: Image.Image, reading: Reading, scale: float, *, captions: bool) -> Image.Image:
    """A scaled picture with boxes, RGB."""
    size = max(1, round(picture.width * scale)), max(2, round(picture.height * scale))
    scaled = picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    figure = Image.new("RGB", size, BEHIND)
    figure.paste(scaled, (0, 0), scaled)
    pen, height = ImageDraw.Draw(figure), max(12, round(CAPTION * max(size)))
    font = ImageFont.load_default(height)
    for one in reading.digits:
        left, top, right, bottom = (side * scale for side in one.box)
        colour = UNREAD if one.confidence is None else READ if one.confidence >= CERTAIN else UNCERTAIN
        pen.rectangle((left - 1, top - 1, right, bottom), outline=colour, width=max(1, max(size) // 500))
        if captions:
            text = "?" if one.digit is None else str(one.digit)
            pen.text(((left + right) / 2, max(height, top - 2)), text, colour, font, anchor="mb")
    return figure
