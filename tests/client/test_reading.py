"""Both clients read pictures of several digits as this process does, in one call."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digits.client import ReadDigit
from digits.client.local import LocalClassifier
from digits.client.predictions import Predictions, Timing
from digits.client.reading import reading
from digits.images.errors import BlankError
from digits.images.rows import Glyph, Rows


def page(digits: NDArray[np.uint8]) -> bytes:
    """The digits in a row, dark on light paper, as a PNG."""
    sheet = Image.new("L", (90 * len(digits) + 40, 130), 235)
    for place, digit in enumerate(digits):
        sheet.paste(40, (20 + 90 * place, 20), Image.fromarray(digit).resize((84, 84)))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_read_as_in_this_process(
    server: Any, connect: Callable[..., Any], models: Any, test_digits: NDArray[np.uint8], tmp_path: Any
) -> None:
    content = page(test_digits[:8])
    (tmp_path / "page.png").write_bytes(content)
    local = LocalClassifier(models, precision="int8").read(content)
    assert len(local.text) == len(local.digits) == 8
    with connect(server.address) as client:
        for picture in (content, tmp_path / "page.png", str(tmp_path / "page.png")):
            assert client.read(picture) == local
        with pytest.raises(BlankError, match=r"^the picture is blank: "):
            client.read(page(test_digits[:0]))
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            client.read(tmp_path / "none.png")


def test_all_digits_of_a_picture_are_sent_in_one_call(
    scripted: Any, connect: Callable[..., Any], test_digits: NDArray[np.uint8]
) -> None:
    with connect(scripted.address) as client:
        found = client.read(page(test_digits[:6]))
    assert (found.text, len(scripted.calls)) == ("000000", 1)


def answers(digits: list[int], confidences: list[float], not_a_digit: list[bool] | None = None) -> Predictions:
    rejected = None if not_a_digit is None else np.array(not_a_digit)
    return Predictions(
        np.array(digits, np.uint8),
        np.array(confidences, np.float32),
        None,
        "1",
        Timing(0, 0, 0, 1),
        not_a_digit=rejected,
    )


@pytest.mark.parametrize(
    ("predictions", "text"),
    [
        (answers([4, 1, 2], [0.6, 0.99, 0.98]), "12"),
        (answers([4, 1, 2], [0.97, 0.9999, 0.9998]), "12"),
        (answers([4, 1, 2], [0.99, 1, 1]), "4"),
        (answers([4, 1, 2], [0.6, 0.99, 0.9]), "4"),
        (answers([4, 1, 2], [0.999, 0.99, 0.99], [True, False, False]), "12"),
        (answers([4, 1, 2], [0.6, 1, 1], [False, True, False]), "4"),
        (answers([4, 1, 2], [0.6, 0.5, 0.5], [True, False, False]), "?"),
    ],
)
def test_a_glyph_is_two_digits_if_its_halves_are_much_less_doubtful(predictions: Predictions, text: str) -> None:
    blank = np.zeros((28, 28), np.uint8)
    halves = Glyph((0, 0, 10, 20), blank), Glyph((10, 0, 20, 20), blank)
    found = reading(Rows([[Glyph((0, 0, 20, 20), blank, halves=halves)]], 0), predictions)
    assert found.text == text
    if text == "?":
        assert found.digits == (ReadDigit(1, (0, 0, 20, 20), None, None, "unlike any digit"),)
