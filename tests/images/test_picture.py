"""Pictures as digits: every mode, both polarities, and every way in which a file or a path is not a digit."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from digits.images import jpeg, picture
from digits.images.errors import BlankError, PictureError
from digits.images.grey import GreyPicture
from digits.images.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from digits.images.ink import Digit

    Digits = NDArray[np.uint8]
    Ink = NDArray[np.float64]

WHITE = 255


@pytest.fixture(scope="module")
def digits(test_digits: Digits) -> Digits:
    """Fifty real digits, uint8 [50, 28, 28]."""
    return test_digits[:50]


def drawn(digit: Digit, *, scale: float = 4, at: tuple[int, int] = (50, 20), size: tuple[int, int] = (200, 160)) -> Ink:
    """Ink from 0 to 255, float64 [h, w]: the digit enlarged, its corner `at` (x, y), on an empty canvas."""
    side = round(28 * scale)
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    canvas = np.zeros(size[::-1])
    canvas[at[1] : at[1] + side, at[0] : at[0] + side] = np.asarray(large)
    return canvas


def grey(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def dark_on_white(ink: NDArray[Any]) -> Image.Image:
    return grey(WHITE - ink)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def seen(image: Image.Image) -> Digit:
    return GreyPicture.of(image).digit()


def extent(mask: NDArray[Any]) -> tuple[int, int]:
    """The height and width of what is not zero."""
    rows, columns = np.nonzero(mask)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def likeness(one: Digit, other: Digit) -> float:
    """The correlation of two images' pixels: 1 is equal."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def assert_like(result: Digit, digit: Digit, at_least: float = 0.7) -> None:
    """A whole digit that looks like the other one: two of one class correlate by 0.5 or so."""
    assert result.shape == (28, 28)
    assert result.dtype == np.uint8
    assert result.max() == 255
    assert likeness(result, digit) > at_least


def test_digits_anywhere_on_a_canvas_at_any_scale_come_back_from_a_jpeg(digits: Digits) -> None:
    rng = np.random.default_rng(0)
    found = []
    for digit in digits:
        scale = rng.uniform(1.5, 5)
        at = int(rng.integers(0, int(200 - 28 * scale))), int(rng.integers(0, int(160 - 28 * scale)))
        result = picture.read(saved(dark_on_white(drawn(digit, scale=scale, at=at)), "JPEG"))
        found.append(likeness(result, digit))
    assert np.median(found) > 0.95
    assert min(found) > 0.6


MODES: dict[str, Callable[[Ink], Image.Image]] = {
    "1": lambda ink: dark_on_white(ink).convert("1", dither=Image.Dither.NONE),
    "RGB": lambda ink: Image.merge("RGB", [dark_on_white(ink), *[Image.new("L", ink.shape[::-1], 255)] * 2]),
    "I;16": lambda ink: Image.fromarray((65535 - ink * 257).astype(np.uint16)),
    "I": lambda ink: Image.fromarray((100_000 - ink * 300).astype(np.int32)),
    "F": lambda ink: Image.fromarray((0.5 - ink / 2000).astype(np.float32)),
}


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr", "LA", *MODES])
def test_every_mode_is_read_and_wide_ranges_are_scaled_not_clipped(digits: Digits, mode: str) -> None:
    ink = drawn(digits[0])
    image = MODES[mode](ink) if mode in MODES else dark_on_white(ink).convert(mode)
    assert image.mode == mode
    assert_like(seen(image), digits[0])


@pytest.mark.parametrize(("paper", "pen"), [(255, 0), (0, 255), (200, 60), (90, 10), (120, 240), (30, 80), (100, 80)])
def test_ink_is_what_differs_from_the_border_darker_or_lighter(digits: Digits, paper: int, pen: int) -> None:
    assert_like(seen(grey(paper + drawn(digits[1]) / 255 * (pen - paper))), digits[1])


@pytest.mark.parametrize("pen", [0, 255])
def test_strokes_on_transparency_are_seen(digits: Digits, pen: int) -> None:
    image = Image.new("RGBA", (200, 160), (pen, pen, pen, 0))
    image.putalpha(grey(drawn(digits[2])))
    assert_like(picture.read(saved(image, "PNG")), digits[2])


@pytest.mark.parametrize("dark", [False, True])
def test_a_drawing_with_its_own_paper_keeps_it(digits: Digits, dark: bool) -> None:
    """What is around the paper is not ink."""
    ink = drawn(digits[3])
    image = grey(ink if dark else WHITE - ink).convert("RGBA")
    image.putalpha(Image.fromarray(np.pad(np.full((140, 180), 255, np.uint8), 10)))
    assert_like(seen(image), digits[3])


def test_a_palettes_transparent_entry_is_transparent_whatever_its_colour(digits: Digits) -> None:
    image = grey(drawn(digits[4]) > 127).convert("P")
    image.putpalette([0, 0, 0, 0, 0, 0])
    assert_like(picture.read(saved(image, "GIF", transparency=0)), digits[4])


@pytest.mark.parametrize(
    ("form", "mode"),
    [*(("PNG", mode) for mode in ("L", "RGB", "RGBA", "P")), *((form, "L") for form in ("WebP", "GIF", "BMP", "TIFF"))],
)
def test_mnist_images_pass_byte_for_byte(digits: Digits, form: str, mode: str) -> None:
    for digit in digits[:20]:
        content = saved(Image.fromarray(digit).convert(mode), form, lossless=True)
        np.testing.assert_array_equal(picture.read(content), digit)


def test_a_small_image_of_light_ink_that_is_not_normalised_is_placed_like_others(digits: Digits) -> None:
    """Moved by some pixels, or smaller than MNIST's digits are; at its own place and size it passes."""
    for digit in digits:
        moved = np.zeros_like(digit)
        moved[:-2, :-3] = digit[2:, 3:]
        small = np.pad(np.asarray(Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)), 4)
        for other in (moved, small):
            assert not GreyPicture.of(Image.fromarray(other)).is_mnist
            assert_like(seen(Image.fromarray(other)), digit)


def test_a_small_image_of_dark_ink_is_placed_like_others(digits: Digits) -> None:
    for digit in digits:
        assert_like(seen(dark_on_white(digit)), digit)


def test_uneven_light_noise_and_dust_are_not_ink(digits: Digits) -> None:
    rng = np.random.default_rng(1)
    for digit in digits:
        values = (230 - drawn(digit) * 0.6) * np.linspace(1, 0.6, 200) + rng.normal(0, 5, (160, 200))
        values[5:8, 5:8] = values[150:152, 190:193] = 20
        assert_like(picture.read(saved(grey(values.clip(0, 255)), "JPEG")), digit)


def test_a_black_speck_next_to_pale_strokes_is_dust(digits: Digits) -> None:
    for digit in digits[:10]:
        values = 230 - drawn(digit) / 255 * 60
        values[5:7, 5:7] = 0
        assert_like(seen(grey(values)), digit)


def test_a_pen_of_one_pixel_on_a_large_canvas_is_ink_in_full_white() -> None:
    canvas = np.zeros((300, 400))
    canvas[40:260, 200] = canvas[40, 150:200] = 255
    assert extent(seen(dark_on_white(canvas)) > 200) == (20, 5)


def test_ink_may_reach_the_border_as_long_as_more_paper_does(digits: Digits) -> None:
    for digit in digits[:10]:
        ink = drawn(digit)
        rows, columns = np.nonzero(ink > 30)
        box = (columns.min() - 1, rows.min() - 1, columns.max() + 2, rows.max() + 2)
        assert_like(seen(dark_on_white(ink).crop(box)), digit)


def test_a_digit_is_placed_as_mnist_does() -> None:
    """The longer side is 20, and the centre of mass is at (14, 14) to half a pixel, as in MNIST itself."""
    canvas = np.zeros((400, 400))
    canvas[10:210, 300:340] = canvas[170:210, 300:380] = 255
    result = seen(dark_on_white(canvas)).astype(float)
    assert extent(result) == (20, 8)
    for axis in (0, 1):
        assert abs(result.sum(axis=1 - axis) @ np.arange(28) / result.sum() - 14) <= 0.5


BLANK = BlankError, r"is blank: .* expected one digit"
NO_DIGIT = {
    "white": (Image.new("L", (200, 160), 255), *BLANK),
    "black, 28 x 28": (Image.new("L", (28, 28)), *BLANK),
    "one pixel": (Image.new("L", (1, 1)), *BLANK),
    "16 bits": (Image.fromarray(np.full((160, 200), 40_000, np.uint16)), *BLANK),
    "noise": (grey(np.random.default_rng(0).normal(128, 12, (160, 200))), *BLANK),
    "a shadow": (grey(np.tile(np.linspace(100, 250, 200), (160, 1))), *BLANK),
    "wholly transparent": (Image.new("RGBA", (50, 50), (0, 0, 0, 0)), BlankError, "wholly transparent"),
    **{
        str(value): (Image.fromarray(np.pad([[np.float32(value)]], 20)), PictureError, "not finite numbers")
        for value in (np.nan, np.inf, -np.inf)
    },
}


@pytest.mark.parametrize(("image", "error", "message"), NO_DIGIT.values(), ids=NO_DIGIT)
def test_a_picture_on_which_nothing_stands_out_is_refused(
    image: Image.Image, error: type[PictureError], message: str
) -> None:
    with pytest.raises(error, match=message):
        seen(image)


def test_the_error_of_a_file_that_is_not_a_picture_does_not_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("hello")
    for given_path in (path, str(path)):
        with pytest.raises(PictureError, match=r"^not a picture in a format that Pillow reads"):
            picture.read(given_path)


def test_large_and_small_files_are_read_by_path_as_they_are_open(digits: Digits, tmp_path: Path) -> None:
    noisy = WHITE - drawn(digits[0]) + np.random.default_rng(0).normal(0, 4, (160, 200))
    for name, image in {
        "small.png": Image.fromarray(digits[0]),
        "large.bmp": grey(noisy.clip(0, 255)).convert("RGB"),
    }.items():
        path = tmp_path / name
        image.save(path)
        expected = picture.read(path.read_bytes())
        np.testing.assert_array_equal(picture.read(str(path)), expected)
        np.testing.assert_array_equal(picture.read(path), expected)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000"])
def test_other_formats_of_pillows_are_read_up_to_the_same_size(digits: Digits, form: str) -> None:
    """Their first frame counts; damage is a PictureError."""
    more = {"save_all": True, "append_images": [dark_on_white(drawn(digits[1]))]} if form in {"GIF", "TIFF"} else {}
    whole = saved(dark_on_white(drawn(digits[0])), form, **more)
    assert_like(picture.read(whole), digits[0])
    with pytest.raises(PictureError, match="too large: 200 x 160 pixels; at most 31,999 pixels are accepted"):
        picture.read(whole, Limits(pixels=31_999))
    with pytest.raises(PictureError, match=r"."):
        picture.read(whole[: len(whole) // 3])
    rng = np.random.default_rng(2)
    for _ in range(50):
        content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(content), 5):
            content[place % 200 % len(content)] = rng.integers(0, 256)
        with contextlib.suppress(PictureError):
            picture.read(bytes(content))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_more_pixels_than_pillow_allows_are_refused(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    """By an error, not by a warning of Pillow's."""
    most = 200 * 160 // factor - 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    for form in ("PNG", "JPEG", "WebP", "BMP"):
        content = saved(dark_on_white(drawn(digits[0])), form)
        ours = f"200 x 160 pixels; at most {most:,} pixels" if form != "BMP" else ""  # another message is Pillow's
        for reading in (picture.read, picture.decode) if ours else (picture.read,):
            with pytest.raises(PictureError, match=f"^the picture is too large: {ours}"):
                reading(content)


def test_of_twelve_megapixels_one_in_four_is_decoded(digits: Digits) -> None:
    photo = dark_on_white(drawn(digits[8], scale=80, at=(900, 300), size=(4000, 3000))).convert("RGB")
    content = saved(photo, "JPEG")
    decoded, _ = jpeg.opened(content, Limits())
    assert (decoded.mode, decoded.size) == ("L", (2000, 1500))
    assert_like(picture.read(content), digits[8])


def test_a_named_pipe_a_socket_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody writes to the pipe, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path / "pipe", "a named pipe"),
            (tmp_path / "socket", "a socket"),
            ("/dev/zero", "a device"),
        ):
            with pytest.raises(PictureError, match=f"^{kind}, not a file; give a picture file$"):
                picture.read(path)


@pytest.mark.parametrize("url", ["https://x.org/7.png", "s3://b/7.png"])
def test_a_url_is_not_read(url: str) -> None:
    for path in (url, Path(url)):
        with pytest.raises(PictureError, match=r"^a URL; URLs are not read: download the file and give its path$"):
            picture.read(path)


def test_a_missing_file_and_a_folder_are_pythons_own_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        picture.read(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        picture.read(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_so_is_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    with pytest.raises(PermissionError, match=r"secret\.png"):
        picture.read(path)
