"""HEIC and AVIF, as phones and browsers store pictures: from the user's own files only, turned as they say."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from digits.images.errors import PictureError
from digits.images.limits import Limits
from digits.images.picture import decode, read
from digits.score import decoding
from digits.score.chunk import OK, UNREADABLE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMATS = ["HEIF", "AVIF"]
EXTENSIONS = {"HEIF": ".heic", "AVIF": ".avif"}
pillow_heif.register_heif_opener()  # to save them


def seven() -> Image.Image:
    values = np.full((120, 90), 230, np.uint8)
    values[24:34, 24:76] = values[24:96, 66:76] = 30
    return Image.fromarray(values).convert("RGB")


def saved(image: Image.Image, form: str, orientation: int = 1) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(file, form, exif=exif.tobytes(), quality=90)
    return file.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(form: str, orientation: int) -> None:
    plain = Image.new("RGB", seven().size)
    plain.paste(seven())
    plain.getexif()[0x0112] = orientation
    upright = read(saved(ImageOps.exif_transpose(plain), "PNG"))
    turned = read(saved(seven(), form, orientation))
    assert np.abs(turned.astype(int) - upright).mean() < 4  # of 255, since both formats lose something
    assert orientation == 1 or np.abs(turned.astype(int) - read(saved(seven(), "PNG"))).mean() > 4


@pytest.mark.parametrize("form", FORMATS)
def test_the_size_is_checked_before_pixels_are_decoded(form: str) -> None:
    """The pixels are damaged, which only a decoder finds."""
    content = bytearray(saved(seven(), form))
    content[-40:] = bytes(40)
    with pytest.raises(PictureError, match=r"^the picture is too large: 90 x 120 pixels; at most 5,000 pixels are acc"):
        read(bytes(content), Limits(pixels=5000))


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short_is_one_line(form: str) -> None:
    content = saved(seven(), form)
    for length in range(20, len(content) - 20, len(content) // 10):
        with pytest.raises(PictureError) as caught:
            read(content[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
def test_they_are_taken_from_a_path_and_neither_from_an_archive_nor_from_a_call(form: str, tmp_path: Path) -> None:
    content = saved(seven(), form)
    path = tmp_path / f"seven{EXTENSIONS[form]}"
    path.write_bytes(content)
    name = {"HEIF": "HEIC"}.get(form, form)
    with pytest.raises(PictureError, match=f"^{name} is not accepted here; send PNG, JPEG or WebP$"):
        decode(content)
    found = decoding.decode([str(path), content])
    assert len(found.pixels) == 1
    assert found.problems[1].status == UNREADABLE != OK


def test_without_pillow_heif_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(seven(), "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(PictureError, match=r"needs pillow-heif, .*; pip install 'digits-serving\[heif\]'$"):
        read(content)


def test_other_kinds_of_heif_and_a_phones_size_are_read(test_digits: NDArray[np.uint8]) -> None:
    """A photo of 12 million pixels, and a sequence of which the first picture counts."""
    photo = Image.new("L", (4032, 3024), 235)
    photo.paste(Image.fromarray(255 - test_digits[0] // 255 * 200).resize((1400, 1400)), (1300, 800))
    assert read(saved(photo.convert("RGB"), "HEIF")).shape == (28, 28)
    file = io.BytesIO()
    seven().save(file, "HEIF", save_all=True, append_images=[Image.new("RGB", (90, 120))], quality=90)
    np.testing.assert_array_equal(read(file.getvalue()), read(saved(seven(), "HEIF")))
