"""PNG, JPEG and WebP from anyone: any bytes give a digit or PictureError, cheaply, and never a warning."""

from __future__ import annotations

import io
import logging
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from digits.images.errors import BlankError, PictureError, SeveralDigitsError, UnclearError
from digits.images.limits import Limits
from digits.images.picture import DECODERS, decode, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEVEN = np.full((60, 50), 230, np.uint8)
SEVEN[12:17, 12:38] = SEVEN[12:48, 33:38] = 30
FORMATS = ["PNG", "JPEG", "WebP"]
OTHER_FORMATS = ["GIF", "BMP", "TIFF", "AVIF"]
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def seven(mode: str = "L") -> Image.Image:
    return Image.fromarray(SEVEN).convert(mode)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes, data: bytes = b"", interlace: int = 0) -> bytes:
    """A grey PNG of 8 bits with more chunks before its data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlace))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *more, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")])


def rows(values: NDArray[np.uint8]) -> bytes:
    """The data of a grey PNG: each row after the number of its filter."""
    return b"".join(b"\0" + row.tobytes() for row in values)


def seven_png(*more: bytes, after: bytes = b"") -> bytes:
    return png(50, 60, *more, data=rows(SEVEN) + after)


def refused(content: bytes, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(PictureError, match=match) as caught:
        decode(content, limits or Limits())
    assert "\n" not in str(caught.value)


def opened(form: str, content: bytes) -> tuple[Image.Image, int]:
    return DECODERS[form](content, Limits())


MODES = {
    "PNG": ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"],
    "JPEG": ["1", "L", "RGB", "CMYK"],
    "WebP": ["L", "RGB", "RGBA", "P"],
}
OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    *[(form, mode, {}) for form, modes in MODES.items() for mode in modes],
    *[("PNG", "P", {"bits": bits}) for bits in (1, 2, 4)],
    *[("PNG", mode, {"transparency": colour}) for mode, colour in (("1", 1), ("L", 230), ("RGB", (230, 230, 230)))],
    *[("PNG", "P", {"transparency": opacity}) for opacity in (7, bytes(range(256)))],
    *[("JPEG", mode, {"progressive": True}) for mode in ("L", "RGB", "CMYK")],
]


@pytest.mark.parametrize(("form", "mode", "options"), OPTIONS)
def test_pixels_are_those_of_pillows_plugin(form: str, mode: str, options: dict[str, Any]) -> None:
    content = saved(seven(mode), form, **options)
    found, _ = opened(form, content)
    with Image.open(io.BytesIO(content)) as expected:
        expected.draft("L", None)
        to = "L" if mode in {"I;16", "CMYK"} else "RGBA"
        np.testing.assert_array_equal(np.asarray(found.convert(to)), np.asarray(expected.convert(to)))


def test_an_interlaced_png_is_read() -> None:
    passes = (SEVEN[top::down, left::across] for top, left, down, across in ADAM7)
    found, _ = opened("PNG", png(50, 60, data=b"".join(map(rows, passes)), interlace=1))
    np.testing.assert_array_equal(np.asarray(found), SEVEN)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_that_of_exif_or_else_of_xmp(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = f'<rdf:Description tiff:Orientation="{orientation}"/>'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    by_xmp = {"pnginfo": text} if form == "PNG" else {"xmp": xmp.encode()}
    assert opened(form, saved(seven(), form, exif=exif))[1] == orientation
    assert opened(form, saved(seven(), form, **by_xmp))[1] == orientation
    assert opened(form, saved(seven(), form, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01"))[1] == 1


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(seven(), form, exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        upright = saved(ImageOps.exif_transpose(image), "PNG")
    np.testing.assert_array_equal(read(content), decode(upright))


@pytest.mark.parametrize("transparency", [bytes([255] * 256), 7])
def test_an_opaque_palette_with_transparency_is_read_without_a_warning(transparency: bytes | int) -> None:
    content = saved(seven("P"), "PNG", transparency=transparency)
    np.testing.assert_array_equal(decode(content), decode(saved(seven(), "PNG")))


@pytest.mark.parametrize("form", ["PNG", "WebP"])
def test_the_first_frame_counts_and_too_many_are_refused(form: str) -> None:
    blank = [Image.fromarray(np.full_like(SEVEN, 200 + i)) for i in range(5)]
    content = saved(seven(), form, save_all=True, append_images=blank, lossless=True)
    np.testing.assert_array_equal(decode(content), decode(saved(seven(), form, lossless=True)))
    refused(content, "too many frames: [56]; at most 4 are accepted", Limits(frames=4))


@pytest.mark.parametrize("form", OTHER_FORMATS)
def test_other_formats_are_taken_from_the_users_own_files_only(form: str) -> None:
    content = saved(seven(), form)
    refused(content, f"^{form} is not accepted here; send PNG, JPEG or WebP$")
    assert read(content).any()


def test_what_is_not_a_picture_is_refused() -> None:
    refused(b"hello", "^not a picture in an accepted format: it begins with 68 65 6c 6c; send PNG, JPEG or WebP$")
    refused(b"", "0 bytes")
    refused(seven_png() + bytes(32 * 2**20), "too many bytes: 33,.*; at most 33,554,432 are accepted")


@pytest.mark.parametrize(
    ("size", "match"),
    [
        ((65500, 65500), r"65500 x 65500 pixels; at most 16,384 along one side"),
        ((1, 100_000_000), r"1 x 100000000 pixels; at most 16,384"),
        ((16384, 4097), r"16384 x 4097 pixels; at most 67,108,864 pixels"),
        ((0, 5), r"empty: 0 x 5 pixels"),
    ],
)
def test_what_a_header_claims_is_refused_before_memory_is_taken(size: tuple[int, int], match: str) -> None:
    refused(png(*size), match)
    if max(size) < 2**16:
        jpeg = bytearray(saved(seven(), "JPEG"))
        place = jpeg.index(b"\xff\xc0") + 5
        jpeg[place : place + 4] = struct.pack(">HH", *reversed(size))
        refused(bytes(jpeg), match)
    if min(size) > 0:
        webp = bytearray(saved(seven(), "WebP", xmp=b"<x/>"))
        assert webp[12:16] == b"VP8X"
        for place, side in zip((24, 27), size, strict=True):
            webp[place : place + 3] = (side - 1 & 0xFFFFFF).to_bytes(3, "little")
        refused(bytes(webp), ("at most 16,384" if max(size) > 2**24 else match))


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_too_large_to_decode_is_refused(lossless: bool) -> None:
    content = saved(seven(), "WebP", lossless=lossless)
    refused(content, "50 x 60 pixels; at most 2,999", Limits(pixels=2999))
    refused(content, "too many bytes to decode it: 48,000; at most 47,999 are", Limits(decoder_bytes=47_999))


def test_text_and_profiles_that_inflate_far_are_never_inflated() -> None:
    bomb = zlib.compress(bytes(20_000_000))
    extras = [b"zTXt", b"k\0\0" + bomb], [b"iTXt", b"k\0\1\0\0\0" + bomb], [b"iCCP", b"k\0\0" + bomb]
    for kind, body in extras:
        np.testing.assert_array_equal(decode(seven_png(chunk(kind, body))), decode(seven_png()))


def test_pixels_that_inflate_further_than_the_header_says_cost_no_more() -> None:
    bomb = seven_png(after=bytes(50_000_000))
    tracemalloc.start()
    np.testing.assert_array_equal(decode(bomb), decode(seven_png()))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    refused(png(50, 60, data=bytes(3059)), "PNG file is damaged: not enough image data")


def test_what_follows_too_many_parts_is_not_read(steps: Callable[..., int]) -> None:
    few = replace(Limits(), parts=1000)
    for head, part in (
        (seven_png()[:33], chunk(b"tEXt", b"")),
        (b"\xff\xd8\xff\xfe\0\2", b"\xff\xfe\0\2"),
    ):
        refused(head + part * 70_000, "too many parts: 65,537")
        costs = {steps(decode, head + part * length, few) for length in (2000, 4000)}
        assert len(costs) == 1


def test_a_jpeg_of_many_scans_a_large_buffer_or_a_rare_process_is_refused() -> None:
    content = saved(seven(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    many = content[:-2] + content[last:-2] * 30 + b"\xff\xd9"
    refused(many, r"pixels in its 36 scans: 108,000; at most 99,000 are", Limits(scan_pixels=99_000))
    refused(content, "too many bytes to decode it: .*; at most 100 are", Limits(decoder_bytes=100))
    refused(saved(seven(), "JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1), "process 9")


def test_a_wrong_checksum_is_refused() -> None:
    content = bytearray(seven_png())
    content[-20] ^= 1
    refused(bytes(content), "the checksum of its chunk at byte 33 is wrong")


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short_anywhere_is_refused(form: str) -> None:
    content = saved(seven("RGB"), form)
    for length in range(0, len(content) - 20, max(1, len(content) // 40)):
        refused(content[:length], ".")


def test_many_threads_decode_at_once_and_pillow_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    contents = [saved(seven("RGB"), form) for form in FORMATS] * 30
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(decode, contents))
    for content, result in zip(contents[:3], results[-3:], strict=True):
        np.testing.assert_array_equal(result, decode(content))
    assert not caplog.records


SAMPLES = [
    *(saved(seven(), form) for form in FORMATS),
    saved(seven("P"), "PNG", transparency=bytes(range(256))),
    saved(seven("RGB"), "JPEG", progressive=True),
    saved(seven("RGBA"), "WebP", lossless=True),
    saved(seven(), "WebP", exif=b"Exif\0\0", save_all=True, append_images=[seven().rotate(90)], xmp=b"<x/>"),
]
SMALL = replace(Limits(), pixels=2**18)


def with_checksums(content: bytes) -> bytes:
    """A PNG with its checksums corrected, so that more than these is tested."""
    place, pieces = 8, [content[:8]]
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        pieces.append(chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return b"".join(pieces)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), content=st.sampled_from(SAMPLES))
def test_a_changed_file_is_a_digit_or_pictureerror(data: st.DataObject, content: bytes) -> None:
    changed = bytearray(content)
    header = min(len(content), 200) - 1
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, header) | st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = changed[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    for attempt in {bytes(changed), with_checksums(bytes(changed))}:
        try:
            result = decode(attempt, SMALL)
        except PictureError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most changes are an error
        else:
            assert result.shape == (28, 28)
            assert result.dtype == np.uint8


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_pictures_of_any_shape_and_noise_are_a_digit_or_pictureerror(h: int, w: int, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((h, w)) < density, rng.integers(0, 256, (h, w)), 255).astype(np.uint8)
    try:
        assert decode(saved(Image.fromarray(values), "PNG")).shape == (28, 28)
    except PictureError as error:
        assert isinstance(error, BlankError | SeveralDigitsError | UnclearError)  # noqa: PT017 - either may be
