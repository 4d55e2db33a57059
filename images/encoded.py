"""Picture files from anyone: what one may cost is limited, and nothing but a digit or PictureError comes of it.

Pillow sees no file as it came. Each format's module walks the file, which costs little, refuses what is outside the
limits, and makes a new file of what the first frame's pixels need. So text, profiles, thumbnails, EXIF and further
frames, in which Pillow would allocate, loop, warn or log, are never there; and nothing of Pillow's that a process has
only one of is touched, so that any number of threads may decode at once.
"""

import io
import logging
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    TiffImagePlugin,  # noqa: F401 - Pillow would import every plugin it has to find this one
    UnidentifiedImageError,
)

from digits.images import bmp, gif, jpeg, picture, png, tiff
from digits.images.errors import PictureError
from digits.images.limits import Limits, Still
from digits.images.picture import Tones

Image.preinit()  # the other plugins, here rather than in the first of several threads
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it describes every chunk at level DEBUG

DEFAULTS = Limits()


class Format(NamedTuple):
    """How a format's files begin, and how one becomes a still."""

    magics: tuple[bytes, ...]
    still: Callable[[bytes, Limits], Still]


FORMATS = {
    "PNG": Format((png.MAGIC,), png.still),
    "JPEG": Format((jpeg.MAGIC,), jpeg.still),
    "BMP": Format((bmp.MAGIC,), bmp.still),
    "GIF": Format(gif.MAGICS, gif.still),
    "TIFF": Format(tuple(tiff.MAGICS), tiff.still),
}


def decode(content: bytes, limits: Limits = DEFAULTS) -> NDArray[np.uint8]:
    """The digit in an encoded picture, uint8 [28, 28], 255 is ink: as `picture.read` sees it.

    The content says which format it is: PNG, JPEG, BMP, GIF or TIFF. Of several frames the first counts. May be called
    from any number of threads.

    Raises:
        PictureError: no picture, a damaged one, one outside the limits, or not one digit; the text is one line.
    """
    limits.check_file(content)
    name = sniffed(content)
    if Image.MAX_IMAGE_PIXELS:  # above which Pillow warns
        limits = replace(limits, pixels=min(limits.pixels, Image.MAX_IMAGE_PIXELS))
    try:
        still = FORMATS[name].still(content, limits)
        tones = _tones(name, still, limits)
    except PictureError:
        raise
    except (struct.error, IndexError) as error:  # of our own walk through the file
        raise PictureError(f"the {name} file is cut short: it has {len(content):,} bytes and refers to more") from error
    except Exception as error:  # Pillow's decoders let out nearly every kind
        raise PictureError(f"the {name} file is damaged: {_line(error)}") from error
    return tones.digit()  # when Pillow's memory is free again


def sniffed(content: bytes) -> str:
    """The name of the format that content begins like.

    Raises:
        PictureError: none that is accepted.
    """
    for name, form in FORMATS.items():
        if content.startswith(form.magics):
            return name
    raise PictureError(
        f"not a picture in an accepted format: it begins with {content[:4].hex(' ')}; accepted are {', '.join(FORMATS)}"
    )


def _tones(name: str, still: Still, limits: Limits) -> Tones:
    with picture.from_file(io.BytesIO(still.content), (name,)) as opened:
        limits.check_size(*opened.size)
        picture.draft(opened)
        opened.load()
        return Tones.of(opened, still.orientation)


def _line(error: Exception) -> str:
    """What Pillow says, unless it says no more than where the file was in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "its header cannot be read"
    return " ".join(str(error).split())[:200] or type(error).__name__
