"""Makes the figures of the documentation with the commands that it describes: `images.py WORK OUT`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from digits.images import mnist

ROOT = Path(__file__).parent.parent
DIGITS = (sys.executable, "-m", "digits.cli.app")
PAGES = ROOT / "docs/how-to/read.md"  # makes a page of digits
RUN_FIGURES = ("curves", "confusion", "incorrect")


def digits(work: Path, *arguments: str) -> None:
    subprocess.run([*DIGITS, *arguments], cwd=work, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 its own commands


def main(work: Path, out: Path) -> None:
    digits(work, "train", "--data", "embedded", "--out", "first")
    digits(work, "train", "--data", "embedded", "--out", "longer", "--epochs", "50")
    digits(work, "compare", "first", "longer", "--out", "comparison")
    test = mnist.load("embedded")
    for index, (digit, label) in enumerate(zip(test.x_test[:500], test.y_test, strict=False)):
        folder = work / "scans" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(folder / f"{index:04}.png")
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
