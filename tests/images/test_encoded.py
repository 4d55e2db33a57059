"""Encoded pictures from anyone: whatever the bytes are, a digit or PictureError, cheaply, and never a warning."""

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
from PIL import Image

from digits.images import picture
from digits.images import tiff as tiff_module
from digits.images.encoded import decode
from digits.images.errors import BlankError, PictureError, SeveralDigitsError, UnclearError
from digits.images.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEVEN = np.full((60, 50), 230, np.uint8)
SEVEN[12:17, 12:38] = SEVEN[12:48, 33:38] = 30
FORMATS = ["PNG", "JPEG", "BMP", "GIF", "TIFF"]


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def seven(mode: str = "L") -> Image.Image:
    return Image.fromarray(SEVEN).convert(mode)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *more: bytes, data: bytes = b"", bits: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *more, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")])


def seven_png(*more: bytes, after: bytes = b"") -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in SEVEN)
    return png(50, 60, *more, data=rows + after)


def tiff(tags: dict[int, list[int]], data: bytes = b"", following: int = 0) -> bytes:
    """A TIFF file whose directory is at byte 8, every value a LONG; the data come after it."""
    free = 8 + 2 + 12 * len(tags) + 4
    start, entries, after = free + sum(4 * len(v) for v in tags.values() if len(v) > 1), b"", b""
    for tag, values in sorted({**tags, **({273: [start]} if tags.get(273) == [0] else {})}.items()):
        value = struct.pack(f"<{len(values)}I", *values)
        entries += struct.pack("<HHI", tag, 4, len(values))
        entries += value if len(values) == 1 else struct.pack("<I", free + len(after))
        after += value if len(values) > 1 else b""
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + after + data


def grey_tiff(**changes: list[int]) -> dict[int, list[int]]:
    """The tags of an uncompressed grey picture of 50 x 60, where `t257=[9]` changes the height."""
    tags = {256: [50], 257: [60], 258: [8], 259: [1], 262: [1], 273: [0], 277: [1], 278: [60], 279: [3000]}
    return tags | {int(name[1:]): values for name, values in changes.items()}


def refused(content: bytes, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(PictureError, match=match) as caught:
        decode(content, limits or Limits())
    assert "\n" not in str(caught.value)


MODES = {
    "PNG": ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"],
    "JPEG": ["1", "L", "RGB", "CMYK"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"],
}


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in MODES.items() for mode in modes])
def test_a_file_is_seen_as_the_command_line_sees_it(form: str, mode: str) -> None:
    content = saved(seven(mode), form)
    result = decode(content)
    assert result.shape == (28, 28)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, picture.read(io.BytesIO(content)))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("tags", [{}, {278: 7}, {278: 100}, {317: 2}])
def test_compressed_tiffs_are_read(compression: str, mode: str, tags: dict[int, int]) -> None:
    if mode in "1F" or compression == "packbits":
        tags = {tag: value for tag, value in tags.items() if tag != 317}
    content = saved(seven(mode), "TIFF", compression=compression, tiffinfo=tags)
    np.testing.assert_array_equal(decode(content), picture.read(io.BytesIO(content)))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits"])
def test_large_tiffs_of_slow_compressions_are_read_up_to_a_limit(compression: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    noise[100:200, 50:60] = 255
    content = saved(Image.fromarray(noise), "TIFF", compression=compression)
    refused(content, "too many bytes in LZW or PackBits: .*; at most 1 are", Limits(slow_bytes=1))
    with Image.open(io.BytesIO(tiff_module.still(content, Limits()).content)) as plain:
        np.testing.assert_array_equal(np.asarray(plain), noise)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(seven(), form, exif=exif)
    np.testing.assert_array_equal(decode(content), picture.read(io.BytesIO(content)))


def test_transparency_and_a_palette_that_is_opaque_are_read_without_a_warning() -> None:
    plain = decode(saved(seven(), "PNG"))
    image = seven("P")
    for transparency in (bytes([255] * 256), 7):
        for form in ("PNG", "GIF"):
            content = saved(image, form, transparency=7 if form == "GIF" else transparency)
            np.testing.assert_array_equal(decode(content), plain)


def test_a_mnist_image_passes_byte_for_byte(test_digits: NDArray[np.uint8]) -> None:
    for digit in test_digits[:10]:
        for form in ("PNG", "BMP", "GIF", "TIFF"):
            np.testing.assert_array_equal(decode(saved(Image.fromarray(digit), form)), digit)


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF"])
def test_the_first_frame_counts_and_too_many_are_refused(form: str) -> None:
    blank = [Image.fromarray(np.full_like(SEVEN, 200 + i)) for i in range(5)]
    content = saved(seven(), form, save_all=True, append_images=blank)
    np.testing.assert_array_equal(decode(content), decode(saved(seven(), form)))
    refused(content, "too many frames: 5; at most 4 are accepted", Limits(frames=4))


def test_only_five_formats_are_opened() -> None:
    for form in ("WEBP", "PPM", "ICNS", "TGA"):
        refused(saved(seven(), form), "not a picture in an accepted format: it begins with .*; accepted are PNG, JPEG")
    refused(b"", "0 bytes")
    refused(b"hello", "begins with 68 65 6c 6c")


def test_a_file_of_too_many_bytes_is_not_looked_at() -> None:
    refused(seven_png() + bytes(8 * 2**20), "too many bytes: 8,.*; at most 8,388,608 are accepted")


@pytest.mark.parametrize(
    ("size", "match"),
    [
        ((65500, 65500), r"65500 x 65500 pixels; at most 16,384 along one side"),
        ((1, 100_000_000), r"1 x 100000000 pixels; at most 16,384"),
        ((16384, 1025), r"16384 x 1025 pixels; at most 16,777,216 pixels"),
        ((0, 5), r"empty: 0 x 5 pixels"),
    ],
)
def test_what_a_header_claims_is_refused_before_memory_is_taken(size: tuple[int, int], match: str) -> None:
    width, height = size
    refused(png(*size), match)
    bitmap = bytearray(saved(seven(), "BMP"))
    bitmap[18:26] = struct.pack("<II", *size)
    refused(bytes(bitmap), match)
    refused(tiff(grey_tiff(t256=[width], t257=[height])), match)
    if max(size) < 2**16:
        jpeg = bytearray(saved(seven(), "JPEG"))
        place = jpeg.index(b"\xff\xc0") + 5
        jpeg[place : place + 4] = struct.pack(">HH", height, width)
        refused(bytes(jpeg), match)
        gif = bytearray(saved(seven(), "GIF"))
        frame = gif.index(b",\0\0\0\0") + 5
        gif[frame : frame + 4] = struct.pack("<HH", *size)
        refused(bytes(gif), match)


def test_a_gif_of_small_frames_on_a_large_screen_is_refused() -> None:
    content = bytearray(saved(seven(), "GIF"))
    content[6:10] = struct.pack("<HH", 60_000, 60_000)
    refused(bytes(content), "60000 x 60000 pixels")


def test_text_and_profiles_that_inflate_far_are_never_inflated() -> None:
    bomb = zlib.compress(bytes(20_000_000))
    extras = [b"zTXt", b"k\0\0" + bomb], [b"iTXt", b"k\0\1\0\0\0" + bomb], [b"iCCP", b"k\0\0" + bomb]
    for kind, body in extras:
        np.testing.assert_array_equal(decode(seven_png(chunk(kind, body))), decode(seven_png()))


def test_pixels_that_inflate_to_more_or_less_than_the_header_says_are_refused() -> None:
    bomb = seven_png(after=bytes(50_000_000))
    tracemalloc.start()
    refused(bomb, "inflates to more than the 3,060 bytes")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    refused(png(50, 60, data=bytes(3059)), "its data are 3,059 bytes; its pixels are 3,060")


def test_a_file_of_very_many_parts_is_refused() -> None:
    refused(seven_png(chunk(b"tEXt", b"") * 70_000), "too many parts: 65,537")
    refused(b"\xff\xd8" + b"\xff\xfe\0\2" * 70_000, "too many parts: 65,537")
    refused(saved(seven(), "GIF")[:-1] + b"!\xfe" + b"\1 " * 70_000 + b"\0;", "too many parts: 65,5")
    refused(tiff(grey_tiff(t273=[8] * 70_000)), "too many parts: 70,000")


def test_what_follows_too_many_parts_is_not_read(steps: Callable[..., int]) -> None:
    few = replace(Limits(), parts=1000)
    for head, part, tail in (
        (seven_png()[:33], chunk(b"tEXt", b""), b""),
        (b"\xff\xd8", b"\xff\xfe\0\2", b""),
        (saved(seven(), "GIF")[:-1] + b"!\xfe", b"\1 ", b"\0;"),
    ):
        costs = {steps(decode, head + part * length + tail, few) for length in (2000, 4000)}
        assert len(costs) == 1


def test_a_jpeg_of_many_scans_or_a_large_buffer_is_refused() -> None:
    content = saved(seven(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    refused(content[:-2] + content[last:-2] * 30 + b"\xff\xd9", "too many scans: 25; at most 24 are accepted")
    refused(content, "too many bytes to decode it: .*; at most 100 are", Limits(decoder_bytes=100))


def test_jpeg_processes_but_baseline_and_progressive_are_refused() -> None:
    content = saved(seven(), "JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1)
    refused(content, "process 9")


def test_a_run_length_encoded_bmp_is_refused() -> None:
    content = bytearray(saved(seven(), "BMP"))
    content[30] = 1
    refused(bytes(content), r"compressed \(kind 1\)")


def test_tiff_directories_that_loop_are_refused() -> None:
    refused(tiff(grey_tiff(), SEVEN.tobytes(), following=8), "after 1 pages its directories go round in a loop")
    assert decode(tiff(grey_tiff(), SEVEN.tobytes())).any()


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        (grey_tiff(t259=[7]), "its tag 259 is 7"),
        (grey_tiff(t259=[50001]), "its tag 259 is 50001"),
        (grey_tiff(t262=[6]), "its tag 262 is 6"),
        (grey_tiff(t277=[100_000]), "100000 channels"),
        (grey_tiff(t279=[2**32 - 1]), "cut short: it has .* bytes; its strips end at"),
        (grey_tiff(t278=[1]), "it has 1 strips; its pixels take 60"),
        (grey_tiff(t278=[0]), "it has 1 strips; its pixels take 60"),
        (grey_tiff(t256=[50, 50]), "tag 256 has 2 values"),
        (grey_tiff(t322=[16_384], t323=[16_384], t324=[8], t325=[9]), "16384 x 16384 pixels"),
        (grey_tiff(t322=[0], t323=[0], t324=[8], t325=[9]), "0 x 0 pixels"),
        (grey_tiff(t262=[3]), "palette is not one of 8 bits"),
    ],
)
def test_tiffs_of_rare_kinds_or_impossible_strips_are_refused(tags: dict[int, list[int]], match: str) -> None:
    refused(tiff(tags, SEVEN.tobytes()), match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(value: float) -> None:
    values = SEVEN.astype(np.float32)
    values[30, 30] = value
    refused(saved(Image.fromarray(values), "TIFF"), "not finite numbers")


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_short_anywhere_is_refused(form: str) -> None:
    content = saved(seven("RGB"), form)
    for length in range(0, len(content) - 20, max(1, len(content) // 40)):
        refused(content[:length], ".")


def test_where_the_process_allows_fewer_pixels_pillow_does_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2999)
    for form in FORMATS:
        refused(saved(seven(), form), "50 x 60 pixels; at most 2,999 pixels")


def test_damaged_strips_are_refused_without_a_word_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        content = saved(seven(), "TIFF", compression=compression)
        refused(content[:8] + bytes([128] * 30) + content[38:], "TIFF file is (damaged|cut short)")
    refused(saved(seven("1"), "TIFF", compression="group4"), "its tag 259 is 4")
    assert capfd.readouterr() == ("", "")


def test_many_threads_decode_at_once_and_pillow_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    contents = [saved(seven("RGB"), form) for form in FORMATS] * 20
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(decode, contents))
    for content, result in zip(contents[:5], results[-5:], strict=True):
        np.testing.assert_array_equal(result, decode(content))
    assert not caplog.records


SAMPLES = [
    *(saved(seven(), form) for form in FORMATS),
    saved(seven("P"), "PNG", transparency=bytes(range(256))),
    saved(seven("RGB"), "JPEG", progressive=True),
    saved(seven("P"), "GIF", transparency=3, interlace=True),
    saved(seven("RGBA"), "TIFF", compression="tiff_lzw"),
    saved(seven("F"), "TIFF", compression="tiff_adobe_deflate"),
    saved(seven("1"), "TIFF", compression="packbits"),
    saved(seven("1"), "BMP"),
]
SMALL = replace(Limits(), pixels=2**18)


def checksums_mended(content: bytes) -> bytes:
    """A PNG's checksums made right, so that more than they is tested."""
    place, pieces = 8, [content[:8]]
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        pieces.append(chunk(content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return b"".join(pieces)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), content=st.sampled_from(SAMPLES))
def test_a_changed_file_is_a_digit_or_pictureerror_and_nothing_else(data: st.DataObject, content: bytes) -> None:
    changed = bytearray(content)
    header = min(len(content), 200) - 1
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, header) | st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    changed = changed[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    for attempt in {bytes(changed), checksums_mended(bytes(changed))}:
        try:
            result = decode(attempt, SMALL)
        except PictureError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most changes are no error
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
