"""The intake of arrays: whatever shape, type, order and container digits come in, they are the same digits."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from digits.client.local import LocalClassifier
from digits.client.pixels import pixels_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.client import Client
    from digits.images.arrays import PixelRange
    from digits.tests.conftest import ServerProcess


SHAPES: list[tuple[int, ...]] = [(-1, 28, 28), (-1, 28, 28, 1), (-1, 1, 28, 28), (-1, 784)]


@pytest.mark.parametrize("dtype", ["u1", "?", "i1", "<i8", ">u2", "f2", "f4", ">f8", "g"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_of_any_shape_type_and_order_is_the_same_digits(
    test_digits: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]
) -> None:
    digits = test_digits[:5]
    if dtype == "?":
        digits = (digits > 127) * np.uint8(255)
    elif dtype == "i1":
        digits = digits // 2
    top = 255 if np.dtype(dtype).kind in "bf" else 1
    array = (digits / top).astype(dtype).reshape(shape)
    for same in (array, np.asfortranarray(array), np.repeat(array, 2, axis=0)[::2], array.tolist(), list(array)):
        found = pixels_of(same)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert np.array_equal(found, digits)
    assert np.array_equal(pixels_of(array[0]), digits[:1])
    if top == 255:
        assert np.array_equal(pixels_of((digits / 1.0).reshape(shape), "0-255"), digits)


def test_a_buffer_is_raw_pixels_or_the_array_that_it_says_it_is(test_digits: NDArray[np.uint8]) -> None:
    digits = test_digits[:3]
    floats = (digits / np.float32(255)).reshape(-1, 784)
    for buffer in (bytearray(digits.tobytes()), memoryview(digits.tobytes()), digits.data, floats.data):
        assert np.array_equal(pixels_of(buffer), digits)
    assert np.array_equal(pixels_of([bytearray(digits[0].tobytes()), digits[1] / 255, digits[2].tolist()]), digits)
    for content in (bytearray(b"\x89PNG\r\n\x1a\n"), memoryview(b"\xff\xd8\xff\xe0")):
        with pytest.raises(ValueError, match=r"is raw pixels; give a picture's content as bytes\(\.\.\.\)"):
            pixels_of(content)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((28, 27), np.uint8),
        np.zeros((0, 28, 28), np.uint8),
        np.zeros((2, 28, 28, 3), np.uint8),
        np.zeros((28, 28), np.complex64),
        np.array([[None] * 28] * 28),
        np.uint8(0),
        [],
        [[0] * 28] * 27 + [[0] * 27],
        bytearray(783),
    ],
)
def test_an_array_that_is_no_digit_is_said_before_it_is_sent(client: Client, pixels: Any) -> None:
    with pytest.raises(ValueError, match=r"expected \[28,28\], \[n,28,28\].* or \[n,784\]"):
        client.classify(pixels)


def test_an_element_that_is_no_digit_is_named(test_digits: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"^images\[1\]: pixel \d+ of image 0 is \d+\.0; expected 0 to 1"):
        pixels_of([test_digits[0], test_digits[0] * 1.0])
    with pytest.raises(ValueError, match=r"^images\[0\]: the array holds 2 images; expected one"):
        pixels_of([test_digits[:2], b"a picture"])


@pytest.mark.parametrize(
    ("value", "pixel_range", "words"),
    [
        (255.0, "0-1", r"0 to 1; pixel_range='0-255' takes the other range"),
        (-0.4242, "0-255", "0 to 255; if they were normalized, save them as they were before"),
        (np.nan, "0-1", "0 to 1"),
        (np.inf, "0-255", "0 to 255"),
        (256, "0-1", "0 to 255$"),
        (-1, "0-255", "0 to 255$"),
    ],
)
def test_a_pixel_out_of_its_range_is_named(value: float, pixel_range: PixelRange, words: str) -> None:
    array = np.zeros((2, 784), type(value))
    array[1, 3] = value
    with pytest.raises(ValueError, match=rf"^pixel 3 of image 1 is {value}; expected {words}"):
        pixels_of(array, pixel_range)


@pytest.mark.parametrize(("pixel_range", "top"), [("0-1", 1), ("0-255", 255)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_float_just_out_of_its_range_is_refused_or_the_shade_at_its_end(
    dtype: type[Any], pixel_range: PixelRange, top: int
) -> None:
    """A rounding to 256 would come out as 0."""
    for end, shade in ((0, 0), (top, 255)):
        taken = 0
        for value in np.linspace(end - 0.003, end + 0.003, 601).astype(dtype):
            with contextlib.suppress(ValueError):
                assert abs(int(pixels_of(np.full(784, value), pixel_range)[0, 0, 0]) - shade) <= 1
                taken += 1
        assert 0 < taken < 601


def test_the_range_of_floats_is_the_callers_in_every_way_to_ask(
    client: Client, server: ServerProcess, connect: Any, models: Path, test_digits: NDArray[np.uint8]
) -> None:
    floats, asked = test_digits[:5].astype(np.float32), {"pixel_range": "0-255"}
    with connect(server.address) as either:
        answers = [either.classify(floats, **asked), *either.stream([floats], **asked)]
    for answer in (*answers, LocalClassifier(models).classify(floats, pixel_range="0-255")):
        assert np.array_equal(answer.digits, client.classify(test_digits[:5]).digits)
    with pytest.raises(ValueError, match="pixel_range is '0-2'; expected one of"):
        client.classify(floats, pixel_range="0-2")  # type: ignore[arg-type]
