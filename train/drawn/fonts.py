"""Glyphs of fonts that matplotlib brings: digits, and letters and symbols that are not digits."""

import string
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from digits.train.drawn.pen import Ink, as_ink

SIZE = 56  # pixels of a font
# The fonts of the STIX family are left for measurements.
TRAINING = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
    "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
RICH = 8  # the first of them have more than ASCII
HELD_OUT = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
LIKE_DIGITS = frozenset("bloqszBDGIOQSZ")
LETTERS = "".join(letter for letter in string.ascii_letters if letter not in LIKE_DIGITS)
SYMBOLS = "#$%&*+<=>?@^~€£§¶"  # brackets look like a 1 with flag and base
# Greek, Cyrillic, arrows, mathematics, geometry and ornaments, without those that look like digits.
OTHER = "ΓΔΛΞΠΣΦΨΩαγεηκλμνπρτυφχψωЖИЙЛФЦШЩЪЫЮЯДжийкмншщыюя←↑→↓↔↕↖↗⇐⇒⇔∀∃∇∈∏∑√∞≈≠≡≤≥⊂⊃⊕⊗■□▲△▼▽◆◇◢◣♠♣♥♦♪♫☀☼♀♂"


def load(name: str) -> ImageFont.FreeTypeFont:
    """A font by the name of its file."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", SIZE)


def glyph(text: str, face: ImageFont.FreeTypeFont) -> Ink:
    """The ink of a text; empty if the font does not have it."""
    left, top, right, bottom = (int(value) for value in face.getbbox(text))
    canvas = Image.new("L", (max(right - left, 1) + 32, max(bottom - top, 1) + 16))
    ImageDraw.Draw(canvas).text((16 - left, 8 - top), text, 255, face)
    return as_ink(canvas)
