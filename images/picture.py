"""Picture files as digits: opened with Pillow, made grey, and then by MNIST's own procedure (`ink`)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from digits.images import ink
from digits.images.errors import PictureError
from digits.images.ink import Digit, Grey

LONGEST = 1024  # pixels: larger pictures are reduced before anything else
DARK = 32  # of 255: the background of a MNIST image after JPEG
OPAQUE = 255


def read(path_or_file: str | Path | BinaryIO, *, formats: tuple[str, ...] | None = None) -> Digit:
    """The digit in a picture file, uint8 [28, 28], 255 is ink.

    Args:
        path_or_file: a path, or an open file that can seek.
        formats: Pillow's names of the formats to accept, such as "PNG"; default: every one that Pillow reads.

    Raises:
        PictureError: no picture, a damaged or huge one, or a blank one; the text names the file.
        FileNotFoundError: there is no such file.
    """
    if isinstance(path_or_file, str | Path):
        with Path(path_or_file).open("rb") as file:
            return _read(file, formats, str(path_or_file))
    return _read(path_or_file, formats, "the picture")


def _read(file: BinaryIO, formats: tuple[str, ...] | None, name: str) -> Digit:
    try:
        with _decoding(), Image.open(file, formats=formats) as picture:
            if Image.MAX_IMAGE_PIXELS and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{picture.width} x {picture.height} pixels")
            picture.draft("L", (LONGEST, LONGEST))  # a JPEG decodes to a fraction of its size
            return to_digit(picture)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error


def to_digit(picture: Image.Image) -> Digit:
    """The digit in a picture of any mode and size, uint8 [28, 28], 255 is ink.

    A 28 x 28 picture that is light on dark already is returned as it is, every value untouched.

    Raises:
        PictureError: the picture is damaged or blank.
    """
    with _decoding():
        grey = _grey(picture)
    found = ink.find(grey)
    if grey.shape == (ink.SIDE, ink.SIDE) and _is_mnist(picture, grey):
        return grey.astype(np.uint8)
    return ink.place(found)


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


def _grey(picture: Image.Image) -> Grey:
    """Upright grey values from 0 to 255, float32 [h, w], the longer side at most 1024 or so."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":
        picture = _scaled(picture)
    elif _has_alpha(picture):
        picture = picture.convert("RGBA")
    else:
        picture = picture.convert("L")
    factor = max(picture.size) // LONGEST
    if factor > 1:
        picture = picture.reduce(factor)
    return _on_paper(picture) if picture.mode == "RGBA" else np.asarray(picture, np.float32)


def _scaled(picture: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float pictures from 0 to 255, since `convert` would clip them."""
    values = np.asarray(picture, np.float64)
    if not np.isfinite(values).all():
        raise PictureError("the picture has values that are not finite numbers")
    values -= values.min()
    return Image.fromarray((values * (255 / (values.max() or 1))).astype(np.float32))


def _has_alpha(picture: Image.Image) -> bool:
    if not picture.has_transparency_data:
        return False
    lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return lowest != OPAQUE


def _on_paper(picture: Image.Image) -> Grey:
    """An RGBA picture laid on grey paper that its strokes stand out from, float32 [h, w].

    Strokes alone get paper of the opposite tone. A drawing that brings its own paper, so that most of the picture is
    opaque and of more than one tone, gets more of the same.
    """
    alpha = np.asarray(picture.getchannel("A"), np.float32) / 255
    grey = np.asarray(picture.convert("L"), np.float32)
    tones = grey[alpha > alpha.max() / 2]
    if not tones.size:
        raise PictureError("the picture is blank: it is wholly transparent")
    own = alpha.mean() > 0.5 and np.ptp(tones) > ink.FAINTEST  # noqa: PLR2004 - half the picture
    opposite = 255 if tones.mean() < 128 else 0  # noqa: PLR2004 - the middle of the range
    tone = np.median(tones) if own else opposite
    return np.asarray(alpha * grey + (1 - alpha) * tone, np.float32)


def _is_mnist(picture: Image.Image, grey: Grey) -> bool:
    """Whether 8-bit grey values, 28 x 28 and not blank, are ink on a dark background already."""
    paper = np.median(ink.border(grey))
    return picture.mode[0] not in "IF" and not _has_alpha(picture) and paper <= DARK < grey.max() - paper
