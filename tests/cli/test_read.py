"""`digits read`: rows of digits in pictures become text, JSON, and figures with boxes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]

ROWS = ["4172", "364"]
STEP = 90  # pixels from one digit to the next


@pytest.fixture
def page(data: Mnist, tmp_path: Path) -> Path:
    """Two rows of dark digits on light paper, with a hyphen after the second row."""
    sheet = Image.new("L", (STEP * 4 + 40, STEP * 2 + 40), 235)
    for top, row in enumerate(ROWS):
        for left, label in enumerate(row):
            sheet.paste(ink(data, int(label)), (20 + left * STEP, 20 + top * STEP))
    sheet.paste(40, (20 + 3 * STEP, 20 + STEP + 40, 45 + 3 * STEP, 26 + STEP + 40))
    sheet.save(tmp_path / "page.png")
    return tmp_path / "page.png"


def ink(data: Mnist, label: int) -> Image.Image:
    digit: NDArray[np.uint8] = data.x_test[int((data.y_test == label).argmax())]
    return Image.fromarray(235 - (digit * 0.8).astype(np.uint8)).resize((84, 84), Image.Resampling.BICUBIC)


def test_each_row_is_a_line_and_a_bad_file_is_reported(digits: Digits, page: Path) -> None:
    (page.parent / "note.txt").write_text("not a picture")
    Image.new("L", (90, 60), 200).save(page.parent / "blank.png")
    files = ("page.png", "note.txt", "blank.png", "missing.png")
    completed = digits("read", *files, cwd=page.parent)
    assert completed.returncode == 1
    header, *lines = completed.stdout.splitlines()
    assert header.split() == ["confidence", "text", "file"]
    assert [line.split()[1:3] for line in lines[:2]] == [[row, "page.png"] for row in ROWS]
    assert lines[2].split(maxsplit=2)[2] == "page.png: 1 mark that is not a digit is left out"
    assert [line.split()[2] for line in lines[3:]] == ["note.txt:", "blank.png:", "missing.png:"]
    assert "not a picture" in lines[3]
    assert "the picture is blank" in lines[4]
    assert lines[5].endswith("No such file or directory")


def test_json_has_an_object_a_line_the_same_from_server_and_process(
    digits: Digits, page: Path, server: Any, models: Path
) -> None:
    there = digits("read", page, "missing.png", "--json", "--server", server.address)
    here = digits("read", page, "missing.png", "--json", "--models", models, "--precision", "int8")
    assert there.stdout == here.stdout
    found, missing = (json.loads(line) for line in here.stdout.splitlines())
    assert found.keys() == {"file", "text", "digits", "left_out"}
    assert (found["file"], found["text"], found["left_out"]) == (str(page), "\n".join(ROWS), 1)
    assert [one["row"] for one in found["digits"]] == [1, 1, 1, 1, 2, 2, 2]
    assert [str(one["digit"]) for one in found["digits"]] == [*"".join(ROWS)]
    for place, one in enumerate(found["digits"]):
        left, top, right, bottom = one["box"]
        x, y = place % 4, place // 4
        assert 20 + x * STEP <= left < right <= 20 + (x + 1) * STEP
        assert 20 + y * STEP <= top < bottom <= 20 + (y + 1) * STEP
        assert 0 < one["confidence"] <= 1
    assert missing == {"file": "missing.png", "error": "No such file or directory"}


def test_the_figure_has_a_box_around_each_digit(digits: Digits, page: Path) -> None:
    figure = page.with_name("figure.png")
    completed = digits("read", page, "--json", "--figure", figure)
    assert completed.returncode == 0
    with Image.open(page) as picture, Image.open(figure) as drawn:
        scale = drawn.width // picture.width
        assert drawn.size == (picture.width * scale, picture.height * scale)
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    green = (pixels[..., 1] - pixels[..., 0] > 60) & (pixels[..., 1] - pixels[..., 2] > 30)
    for one in json.loads(completed.stdout)["digits"]:
        left, top, right, bottom = (side * scale for side in one["box"])
        middle = (top + bottom) // 2
        assert green[middle, left - 1 : left + 1].any()
        assert green[middle, right - 1 : right + 2].any()
    assert {file.name for file in page.parent.iterdir()} == {"page.png", "figure.png"}


def test_a_drawing_lists_the_digits_with_their_boxes(digits: Digits, page: Path) -> None:
    completed = digits("read", page, "--show")
    assert completed.returncode == 0
    listed = re.findall(r"^ +(\d) +(\d) +[\d.]+%  (\d+), (\d+), (\d+), (\d+)$", completed.stdout, re.MULTILINE)
    assert [(row, digit) for row, digit, *_ in listed] == [
        (str(i), one) for i, row in enumerate(ROWS, 1) for one in row
    ]
    assert max(map(len, completed.stdout.splitlines())) <= 80 + len(str(page))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no picture given; say `digits read FILE...`"),
        (("a.png", "--json", "--show"), "--json is for programs and --show for people; say one of them"),
        (("a.png", "b.png", "--figure", "f.png"), "--figure draws one picture, and there are 2; give one"),
    ],
)
def test_options_that_do_not_fit_are_one_line(digits: Digits, arguments: tuple[str, ...], message: str) -> None:
    completed = digits("read", *arguments)
    assert (completed.returncode, completed.stdout, completed.stderr) == (1, "", f"digits: {message}\n")
