"""The least certain digits on one sheet, as the model gets them."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from digits.images.digit import SIDE
from digits.score.journal import Uncertain
from digits.storage.atomic_file import replacing
from digits.storage.text import one_line

COLUMNS = 10
SCALE = 4
TILE = SIDE * SCALE
MARGIN = 10
CAPTION = 34  # pixels below a tile: two lines
PAPER, INK, FAINT = "#ffffff", "#1a1a1a", "#707070"


def draw(path: Path, uncertain: list[Uncertain]) -> None:
    """Writes a PNG with a tile for each digit: its pixels, the answer and its probability, the end of its path."""
    columns = max(1, min(COLUMNS, len(uncertain)))
    rows = -(-len(uncertain) // columns)
    across, down = TILE + MARGIN, TILE + CAPTION + MARGIN
    sheet = Image.new("RGB", (max(columns * across, 4 * across) + MARGIN, rows * down + CAPTION + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(15), ImageFont.load_default(11)
    pen.text((MARGIN, MARGIN), f"the {len(uncertain)} least certain digits, as the model gets them", INK, large)
    for index, one in enumerate(uncertain):
        left, top = MARGIN + index % columns * across, CAPTION + MARGIN + index // columns * down
        tile = Image.fromarray(one.pixels).resize((TILE, TILE), Image.Resampling.NEAREST)
        sheet.paste(tile, (left, top))
        pen.text((left, top + TILE + 1), f"{one.digit}   {one.confidence:.1%}", INK, large)
        pen.text((left, top + TILE + 19), fitted(one_line(one.path), small), FAINT, small)
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a text that is not wider than a tile."""
    if font.getlength(text) <= TILE:
        return text
    while text and font.getlength("\N{HORIZONTAL ELLIPSIS}" + text) > TILE:
        text = text[1:]
    return "\N{HORIZONTAL ELLIPSIS}" + text
