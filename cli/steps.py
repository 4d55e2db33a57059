"""The steps that pictures go through until they are digits: a figure with a row for each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from digits.images import picture, steps
from digits.images.errors import PictureError
from digits.storage.atomic_file import replacing
from digits.storage.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TILE, MARGIN, CAPTION = 200, 10, 22  # pixels
MOST = 6  # steps
PAPER, INK, BEHIND = "#ffffff", "#1a1a1a", "#e4e4e4"


def write(path: Path, files: Sequence[Path]) -> None:
    """Writes a PNG. Where a picture shows no digit, the row has the error."""
    across, down = TILE + MARGIN, TILE + 2 * CAPTION + MARGIN
    figure = Image.new("RGB", (MOST * across + MARGIN, len(files) * down + MARGIN), PAPER)
    for row, file in enumerate(files):
        _draw(figure, MARGIN + row * down, file)
    with replacing(path) as temporary:
        figure.save(temporary, "PNG")


def _draw(figure: Image.Image, top: int, file: Path) -> None:
    """A row of the figure: the file's name, and below it a tile with a caption for each step."""
    pen, font = ImageDraw.Draw(figure), ImageFont.load_default(13)
    pen.text((MARGIN, top), one_line(file.name), INK, font)
    try:
        found = steps.steps(picture.grey(file))
    except (PictureError, OSError) as error:
        pen.text((MARGIN, top + CAPTION), one_line(str(error)), INK, font)
        return
    for number, step in enumerate(found):
        left = MARGIN + number * (TILE + MARGIN)
        pen.rectangle((left, top + CAPTION, left + TILE - 1, top + CAPTION + TILE - 1), BEHIND)
        figure.paste(
            tile := _scaled(step), (left + (TILE - tile.width) // 2, top + CAPTION + (TILE - tile.height) // 2)
        )
        pen.text((left, top + CAPTION + TILE + 2), step.name, INK, font)


def _scaled(step: steps.Step) -> Image.Image:
    """A step as large as a tile; small ones show their pixels."""
    image = Image.fromarray(step.pixels)
    scale = TILE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
