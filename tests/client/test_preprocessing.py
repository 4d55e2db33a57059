"""A client says when a server's preprocessing has another version than its own."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digits.images.version import PREPROCESSING_VERSION


@pytest.mark.parametrize("first", ["a picture", "a picture in a list", "two images", "the model"])
def test_another_version_of_the_preprocessing_is_one_line_for_each_client(
    scripted: Any,
    connect: Callable[..., Any],
    test_digits: NDArray[np.uint8],
    caplog: pytest.LogCaptureFixture,
    first: str,
) -> None:
    """By the first call that tells: of a picture, of several images, or of the model."""
    scripted.preprocessing = PREPROCESSING_VERSION + 1
    file = io.BytesIO()
    Image.fromarray(test_digits[0]).save(file, "PNG")
    given = {"a picture": file.getvalue(), "a picture in a list": [file.getvalue()], "two images": test_digits[:2]}
    for _ in range(2):
        with connect(scripted.address) as client:
            client.classify(test_digits[0])
            assert not caplog.records
            client.classify(given[first]) if first in given else client.model()
            client.classify(file.getvalue())
            client.model()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == (
            f"{scripted.address}: the server's preprocessing has version {PREPROCESSING_VERSION + 1}, and this client's"
            f" {PREPROCESSING_VERSION}: the same picture may get another answer from another client;"
            " install the same version of digits-serving on both sides"
        )
        caplog.clear()


@pytest.mark.parametrize("version", [0, PREPROCESSING_VERSION])
def test_the_same_version_or_an_unknown_one_is_not_worth_a_line(
    scripted: Any, connect: Callable[..., Any], caplog: pytest.LogCaptureFixture, version: int
) -> None:
    scripted.preprocessing = version
    with connect(scripted.address) as client:
        client.model()
    assert not caplog.records


def test_a_command_says_it_in_one_line_too(
    scripted: Any, digits: Callable[..., Any], test_digits: NDArray[np.uint8], tmp_path: Path
) -> None:
    scripted.preprocessing = PREPROCESSING_VERSION + 1
    Image.fromarray(test_digits[0]).save(tmp_path / "digit.png")
    completed = digits("classify", tmp_path / "digit.png", "--server", scripted.address)
    assert completed.returncode == 0
    (line,) = [line for line in completed.stderr.splitlines() if "preprocessing" in line]  # gRPC says its own lines
    assert line.startswith(f"{scripted.address}: the server's preprocessing has version ")
