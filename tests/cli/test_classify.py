"""`digits classify`: pictures in, a table or JSON out, over a server or in this process."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from digits.cli.drawing import Terminal, draw

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.client import Client
    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pictures(test_digits: NDArray[np.uint8], tmp_path: Path) -> list[Path]:
    """The first three test digits as PNG files, with a text between them."""
    files = [tmp_path / name for name in ("a.png", "b.png", "note.txt", "c.png")]
    files[2].write_text("not a picture")
    for file, digit in zip((files[0], files[1], files[3]), test_digits, strict=False):
        Image.fromarray(digit).save(file)
    return files


@pytest.mark.parametrize("over", ["server", "models"])
def test_a_bad_file_is_reported_and_the_others_are_classified(
    digits: Digits, pictures: list[Path], data: Mnist, server: Any, models: Path, over: str
) -> None:
    where = ("--server", server.address) if over == "server" else ("--models", models)
    completed = digits("classify", *pictures, *where)
    assert completed.returncode == 1
    header, *rows = completed.stdout.splitlines()
    assert header.split() == ["digit", "confidence", "novelty", "file"]
    assert [row.split()[3].removesuffix(":") for row in rows] == [str(file) for file in pictures]
    assert [row.split()[0] for row in rows] == [*map(str, data.y_test[:2]), "-", str(data.y_test[2])]
    assert "not a picture in a format that Pillow reads" in rows[2]


def test_a_figure_has_a_row_for_each_picture_and_show_says_which_lines_are_removed(
    digits: Digits, pictures: list[Path], models: Path, tmp_path: Path
) -> None:
    """Also for a file that is no picture: its row has the error."""
    sheet = ImageOps.expand(ImageOps.invert(Image.open(pictures[0]).resize((112, 112))), 24, 255)
    ImageDraw.Draw(sheet).rectangle((6, 6, 153, 153), outline=60, width=3)
    sheet.save(framed := tmp_path / "framed.png")
    heights = []
    for files in ([framed], [framed, *pictures]):
        completed = digits("classify", *files, "--models", models, "--show", "--figure", tmp_path / "steps.png")
        assert completed.stdout.count("removed lines: 2 across, 2 upright") == 1
        with Image.open(tmp_path / "steps.png") as figure:
            heights.append(figure.height)
    assert heights[1] > 4 * heights[0]


def test_json_has_an_object_a_line_the_same_from_server_and_process(
    digits: Digits, pictures: list[Path], server: Any, models: Path
) -> None:
    there = digits("classify", *pictures, "--json", "--server", server.address)
    here = digits("classify", *pictures, "--json", "--models", models, "--precision", "int8")
    assert there.stdout == here.stdout
    rows = [json.loads(line) for line in here.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(file) for file in pictures]
    assert rows[2].keys() == {"file", "error"}
    for row in (rows[0], rows[1], rows[3]):
        assert len(row["probabilities"]) == 10
        assert row["confidence"] == row["probabilities"][row["digit"]] == max(row["probabilities"])


@pytest.mark.parametrize("name", ["a\nb.png", "a\rb.png", "a\x1b[2Jb.png"])
def test_every_file_is_one_line_whatever_its_name(
    digits: Digits, pictures: list[Path], models: Path, name: str
) -> None:
    good = pictures[0].rename(pictures[0].with_name(name))
    shown = ascii(name)[1:-1]
    completed = digits("classify", good, f"no-{name}", "--models", models)
    _, row, failure = completed.stdout.split("\n")[:-1]
    assert row.endswith(f"/{shown}")
    assert failure.endswith(f"  no-{shown}: No such file or directory")


def test_a_server_that_is_not_there_and_options_that_exclude_each_other_are_one_line(
    digits: Digits, pictures: list[Path]
) -> None:
    completed = digits("classify", *pictures, "--server", "127.0.0.1:1", "--timeout", 1)
    assert (completed.returncode, completed.stderr.count("\n")) == (1, 1)
    assert completed.stderr.startswith("digits: 127.0.0.1:1: ")
    completed = digits("classify", pictures[0], "--json", "--show")
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr == "digits: --json is for programs and --show for people; say one of them\n"


def test_dark_ink_on_white_paper_in_a_jpeg_is_read_as_well_as_the_raw_digits(
    digits: Digits, client: Client, data: Mnist, models: Path, tmp_path: Path
) -> None:
    """Off centre, at random scale, on a canvas of 200 x 160: within two points of the same digits raw."""
    random = np.random.default_rng(0)
    count = 500
    for index, digit in enumerate(data.x_test[:count]):
        side = int(28 * random.uniform(1.5, 5))
        ink = Image.fromarray(255 - digit).resize((side, side), Image.Resampling.BICUBIC)
        canvas = Image.new("L", (200, 160), 255)
        canvas.paste(ink, (int(random.integers(0, 200 - side + 1)), int(random.integers(0, 160 - side + 1))))
        canvas.save(tmp_path / f"{index:04}.jpg")
    raw = (client.classify(data.x_test[:count]).digits == data.y_test[:count]).mean()
    completed = digits("classify", *sorted(tmp_path.iterdir()), "--models", models, "--json")
    answers = [json.loads(line) for line in completed.stdout.splitlines()]
    assert all("digit" in answer or answer["error"].startswith("not a digit: ") for answer in answers)
    found = np.array([answer.get("digit", -1) for answer in answers])
    assert (found == data.y_test[:count]).mean() >= raw - 0.02


def test_a_drawing_shows_the_picture_the_digit_and_the_probabilities(
    digits: Digits, pictures: list[Path], test_digits: NDArray[np.uint8], models: Path
) -> None:
    """In a pipe without colours, 80 columns wide: dark and light where the pixels are."""
    completed = digits("classify", pictures[0], pictures[2], "--models", models, "--show")
    assert completed.returncode == 1
    header, row, empty, title, *drawing, last, failure = completed.stdout.splitlines()
    assert (header.split()[0], empty, last) == ("digit", "", "")
    assert title.split("   ")[0] == "  the picture"
    assert "note.txt" in failure
    assert len(drawing) == 14
    bars = [line[2 + 28 + 3 + 28 + 3 :].split() for line in drawing[2:12]]
    assert [bar[0] for bar in bars] == [str(digit) for digit in range(10)]
    best = max(bars, key=lambda bar: float(bar[1].rstrip("%")))
    assert best[0] == row.split()[0]
    assert best[2].startswith("\N{FULL BLOCK}")
    inked = test_digits[0].reshape(14, 2, 28).mean(axis=1) >= 26
    for start in (2, 2 + 28 + 3):  # the picture is a MNIST image: the model sees it as it is
        shown = np.array([[letter != " " for letter in f"{line:<64}"[start : start + 28]] for line in drawing])
        assert np.array_equal(shown, inked)


def test_in_a_terminal_every_pixel_has_its_colour(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28), (200, 30, 10)).save(tmp_path / "red.png")
    digit = np.arange(784, dtype=np.uint16).astype(np.uint8).reshape(28, 28)
    lines = list(draw(tmp_path / "red.png", digit, [0.1] * 10, Terminal(colours=True, blocks=True)))[1:]
    halves = [re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m", line) for line in lines]
    pixels = np.array(halves, int).reshape(14, 56, 2, 3)
    assert (pixels[:, :28] == (200, 30, 10)).all()
    assert np.array_equal(pixels[:, 28:, :, 0].transpose(0, 2, 1).reshape(28, 28), digit)
