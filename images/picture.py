"""Picture files as digits: opened with Pillow, made grey, and then by MNIST's own procedure (`ink`)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from digits.images import ink, paper, png
from digits.images.digit import SIDE
from digits.images.errors import BlankError, PictureError
from digits.images.ink import Digit
from digits.images.paper import Grey, Greys, Scalar
from digits.images.regular_file import opened

LONGEST = 1024  # pixels: larger pictures are reduced before anything else
DARK = 32  # of 255: the background of a MNIST image after JPEG
EDGE = paper.border(np.arange(SIDE * SIDE).reshape(SIDE, SIDE))  # where the border of a MNIST image lies
OPAQUE = 255
STRIP = 2**18  # pixels that are converted at a time
ORIENTATION = 0x0112  # EXIF's tag
TELLING = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}  # where Pillow finds it, but for TIFF's tags
DIRECTIONS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}


def read(path_or_file: str | Path | BinaryIO, *, formats: tuple[str, ...] | None = None) -> Digit:
    """The digit in a picture file, uint8 [28, 28], 255 is ink.

    Args:
        path_or_file: a path, of which a string is quicker to open, or an open file that can seek.
        formats: Pillow's names of the formats to accept, such as "PNG"; default: every one that Pillow reads.

    Raises:
        PictureError: no regular file, no picture, a damaged or huge one, or one that does not show one digit: which it
            is, in a line that does not name the file. BlankError, SeveralDigitsError and UnclearError are its kinds.
        OSError: Python's own for a path that cannot be opened: FileNotFoundError, IsADirectoryError, PermissionError.
    """
    if isinstance(path_or_file, str | Path):
        with opened(path_or_file) as file:
            return _read(file, formats)
    return _read(path_or_file, formats)


def _read(file: BinaryIO, formats: tuple[str, ...] | None) -> Digit:
    with _decoding(), from_file(file, formats) as picture:
        if Image.MAX_IMAGE_PIXELS and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels")
        draft(picture)
        tones = _loaded(picture)
    return tones.digit()  # when Pillow's memory is free again


def from_file(file: BinaryIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    """As `Image.open`, and quicker for a plain PNG."""
    plain = png.plain(file) if formats is None or "PNG" in formats else None
    return plain or Image.open(file, formats=formats)


def draft(picture: Image.Image) -> None:
    """Lets a JPEG, before it is loaded, decode to a fraction of its size, in grey."""
    picture.draft("L", (LONGEST, LONGEST))


def to_digit(picture: Image.Image) -> Digit:
    """The digit in a picture of any mode and size, uint8 [28, 28], 255 is ink.

    A 28 x 28 picture that is light on dark already is returned as it is, every value untouched.

    Raises:
        PictureError: the picture is damaged, or does not show one digit.
    """
    with _decoding():
        tones = _loaded(picture)
    return tones.digit()


def _loaded(picture: Image.Image) -> "Tones":
    picture.load()
    orientation = 1
    if not TELLING.isdisjoint(picture.info) or hasattr(picture, "tag_v2"):
        orientation = picture.getexif().get(ORIENTATION, 1)
    return Tones.of(picture, orientation)


class Tones(NamedTuple):
    """What is left of a picture once it is made grey, upright and small.

    Attributes:
        grey: From 0 to 255, uint8 or float32 [h, w], the longer side below 2048.
        is_mnist: Whether it is a MNIST image already.
    """

    grey: Greys
    is_mnist: bool

    @classmethod
    def of(cls, picture: Image.Image, orientation: int) -> "Tones":
        """A picture's, turned as EXIF numbers orientations. Beside the picture itself it takes little memory.

        Raises:
            PictureError: values that are not finite, or nothing but transparency.
        """
        wide_range = picture.mode[0] in "IF"
        transparent = not wide_range and _has_alpha(picture)
        grey = _upright(_grey(picture, wide_range=wide_range, transparent=transparent), orientation)
        return cls(grey, not wide_range and not transparent and _is_mnist(grey))

    def digit(self) -> Digit:
        """Raises PictureError if it does not show one digit; a MNIST image is not asked."""
        return self.grey.astype(np.uint8) if self.is_mnist else ink.place(ink.find(self.grey))


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    """Pillow's errors as PictureError: its decoders let out nearly every exception there is."""
    try:
        yield
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("not a picture in an accepted format; give a PNG or JPEG file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(
            f"the picture is too large: {error}; at most {Image.MAX_IMAGE_PIXELS:,} pixels are accepted"
        ) from error
    except Exception as error:
        raise PictureError(f"the picture is damaged: {error}") from error


def _grey(picture: Image.Image, *, wide_range: bool, transparent: bool) -> Greys:
    """Grey values from 0 to 255 as they lie in the file, [h, w], the longer side below 2048."""
    factor = max(1, max(picture.size) // LONGEST)
    if wide_range:
        low, high = _range(picture)
        return np.concatenate([_scaled(strip, low, high).reduce(factor) for strip in _strips(picture, factor)])
    if transparent:
        small = [strip.convert("RGBA").reduce(factor) for strip in _strips(picture, factor)]
        alpha = np.concatenate([strip.getchannel("A") for strip in small])
        return _on_paper(np.concatenate([strip.convert("L") for strip in small]), alpha)
    if picture.mode == "L" and factor == 1:
        return np.frombuffer(picture.tobytes(), np.uint8).reshape(
            picture.height, picture.width
        )  # as np.asarray, faster
    return np.concatenate([_opaque(strip).reduce(factor) for strip in _strips(picture, factor)])


def _strips(picture: Image.Image, factor: int = 1) -> Iterator[Image.Image]:
    """The picture from top to bottom, in pieces whose heights, but the last one's, are multiples of the factor.

    So no converted copy of a whole picture is ever in memory.
    """
    width, height = picture.size
    rows = factor * max(1, STRIP // (width * factor))
    for top in range(0, height, rows):
        yield picture.crop((0, top, width, min(top + rows, height)))


def _opaque(strip: Image.Image) -> Image.Image:
    strip.info.pop("transparency", None)  # of a colour that is not there; Pillow would warn of some kinds
    return strip.convert("L")


def _range(picture: Image.Image) -> tuple[float, float]:
    """The lowest and the highest of 16-bit, 32-bit or float values."""
    values = (np.asarray(strip) for strip in _strips(picture))
    ends = np.array([(strip.min(), strip.max()) for strip in values], np.float64)
    if not np.isfinite(ends).all():
        raise PictureError("the picture has values that are not finite numbers")
    return ends.min(), ends.max()


def _scaled(strip: Image.Image, low: float, high: float) -> Image.Image:
    """Values from `low` to `high` from 0 to 255, since `convert` would clip them."""
    values = np.asarray(strip, np.float64) - low
    return Image.fromarray((values * (255 / ((high - low) or 1))).astype(np.float32))


def _has_alpha(picture: Image.Image) -> bool:
    if not picture.has_transparency_data:
        return False
    alphas = (strip.convert("RGBA").getchannel("A").getextrema() for strip in _strips(picture))
    return any(lowest != OPAQUE for lowest, _ in alphas)


def _on_paper(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Grey:
    """Grey values laid, by their opacity, on grey paper that the strokes stand out from, float32 [h, w].

    Strokes alone get paper of the opposite tone. A drawing that brings its own paper, so that most of the picture is
    opaque and of more than one tone, gets more of the same.
    """
    opacity = alpha.astype(np.float32)
    opacity /= OPAQUE
    tones = grey[opacity > opacity.max() / 2]
    if not tones.size:
        raise BlankError("the picture is blank: it is wholly transparent; expected one digit that stands out")
    own = opacity.mean() > 0.5 and np.ptp(tones) > ink.FAINTEST  # noqa: PLR2004 - half the picture
    opposite = 255 if tones.mean() < 128 else 0  # noqa: PLR2004 - the middle of the range
    tone = np.float32(np.median(tones) if own else opposite)
    laid = opacity * grey
    np.subtract(1, opacity, out=opacity)
    opacity *= tone
    laid += opacity
    return np.asarray(laid, np.float32)


def _upright(grey: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turned as EXIF says it has to be: from 5 the axes change places, and then each may be reversed."""
    if orientation not in range(2, 9):  # 1, or none of EXIF's
        return grey
    if orientation >= 5:  # noqa: PLR2004 - EXIF's own number
        grey = grey.T
    down, across = DIRECTIONS.get(orientation, (1, 1))
    return np.ascontiguousarray(grey[::down, ::across])


def _is_mnist(grey: Greys) -> bool:
    """Whether grey values are 28 x 28, not blank, and ink on a dark background."""
    if grey.shape != (SIDE, SIDE):
        return False
    edge = grey.take(EDGE)
    edge.sort()  # quicker than np.median
    background = int(edge[edge.size // 2])
    return background <= DARK < int(grey.max()) - background
