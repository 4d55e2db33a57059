"""Makes the figures of the documentation with the commands that it describes: `images.py WORK OUT`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps

from digits.images import mnist

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
DIGITS = (sys.executable, "-m", "digits.cli.app")
PAGES = ROOT / "docs/how-to/read.md"  # makes a page of digits
RUN_FIGURES = ("curves", "confusion", "incorrect")


def digits(work: Path, *arguments: str) -> None:
    subprocess.run([*DIGITS, *arguments], cwd=work, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 its own commands


def pictures(folder: Path, images: NDArray[np.uint8]) -> None:
    """Writes a digit in a frame, one on ruled paper, and one that is cropped without a margin."""
    folder.mkdir(parents=True)
    sheets = [
        ImageOps.invert(Image.fromarray(image).resize((112, 112), Image.Resampling.BICUBIC)) for image in images[:3]
    ]
    frame, ruled = (ImageOps.expand(sheet, 24, 255) for sheet in sheets[:2])
    ImageDraw.Draw(frame).rectangle((6, 6, 153, 153), outline=60, width=3)
    for y in range(20, 160, 36):
        ImageDraw.Draw(ruled).line((0, y, 160, y), fill=120, width=2)
    frame.save(folder / "frame.png")
    ruled.save(folder / "ruled.png")
    sheets[2].crop(ImageOps.invert(sheets[2]).getbbox()).save(folder / "crop.png")


def main(work: Path, out: Path) -> None:
    digits(work, "train", "--data", "embedded", "--out", "first")
    digits(work, "train", "--data", "embedded", "--out", "longer", "--epochs", "50")
    digits(work, "compare", "first", "longer", "--out", "comparison")
    test = mnist.load("embedded")
    for index, (digit, label) in enumerate(zip(test.x_test[:500], test.y_test, strict=False)):
        folder = work / "scans" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(folder / f"{index:04}.png")
    pictures(work / "pictures", test.x_test)
    names = [f"pictures/{name}.png" for name in ("frame", "ruled", "crop")]
    digits(work, "classify", *names, "--figure", "steps.png")
    digits(work, "score", "scans", "--out", "table.csv", "--contact-sheet", "contact-sheet.png")
    (page, *_) = re.findall(r"^```python\n(.*?)^```$", PAGES.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", page], cwd=work, check=True)  # noqa: S603 the documentation's own
    digits(work, "read", "page.png", "--figure", "boxes.png")
    made = [work / "first/figures" / f"{name}.png" for name in RUN_FIGURES]
    for file in (*made, work / "comparison/comparison.png", work / "contact-sheet.png", work / "boxes.png"):
        shutil.copy(file, out)
    shutil.copy(ROOT / "benchmarks/results/parity-histogram.png", out / "parity.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
