"""Picture files as digits. The client, `classify`, `score` and the server open pictures here, under the same limits.

PNG, JPEG and WebP are taken from anyone: each format's module checks the file before its pixels are decoded, and gives
the decoder only what the first frame's pixels need. Text, profiles, thumbnails and further frames, in which Pillow
would allocate, loop, warn or log, are skipped. Any number of threads may decode concurrently.

Pillow's other formats, and HEIC, are taken from the user's own files only.
"""

import io
import logging
import re
import struct
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from digits.images import heif, jpeg, png, webp
from digits.images.data_file import error_text
from digits.images.errors import PictureError
from digits.images.exif import ORIENTATION
from digits.images.grey import GreyPicture
from digits.images.ink import Digit
from digits.images.limits import Limits, check
from digits.images.regular_file import opened

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it describes chunks at level DEBUG

DEFAULTS = Limits()
DECODERS = {"PNG": png.opened, "JPEG": jpeg.opened, "WebP": webp.opened}
SIGNATURES = {
    "PNG": png.MAGIC,
    "JPEG": jpeg.MAGIC,
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
    "TIFF": rb"II\*\0|MM\0\*",
    "AVIF": rb"....ftypavi[fs]",
    "HEIC": rb"....ftyp(hei|hev|mif1|msf1)",
}
PATTERNS = {name: re.compile(signature, re.DOTALL) for name, signature in SIGNATURES.items()}
HEAD = 16  # bytes that tell the format


def decode(content: bytes, limits: Limits = DEFAULTS) -> Digit:
    """The digit in a PNG, JPEG or WebP file from anyone, uint8 [28, 28], 255 is ink.

    Raises:
        PictureError: another format, a damaged file, one outside the limits, or one that does not show one digit: the
            text is one line. BlankError, SeveralDigitsError and UnclearError are its kinds.
    """
    return decode_grey(content, limits).digit()  # when the picture's memory is free again


def decode_grey(content: bytes, limits: Limits = DEFAULTS) -> GreyPicture:
    """A picture from anyone as grey values, before anything is looked for in it. As `decode`, and raises its errors."""
    check("bytes", len(content), limits.file_bytes)
    if not content:
        raise PictureError("the picture is empty: 0 bytes; expected a picture file")
    name = _format(content)
    if name is None:
        raise PictureError(
            f"not a picture in an accepted format: it begins with {content[:4].hex(' ')}; send PNG, JPEG or WebP"
        )
    if name not in DECODERS:
        raise PictureError(f"{name} is not accepted here; send PNG, JPEG or WebP")
    return _decoded(content, name, limits)


def read(source: str | Path | bytes, limits: Limits = DEFAULTS) -> Digit:
    """The digit in the user's own picture, in any format that Pillow reads or HEIC, uint8 [28, 28], 255 is ink.

    Args:
        source: a path, of which a string is quicker to open, or a file's content.
        limits: what the file may cost.

    Raises:
        PictureError: as `decode`; or the path is not a regular file's. The text does not name the file.
        OSError: Python's own for a path that cannot be opened: FileNotFoundError, IsADirectoryError, PermissionError.
    """
    return grey(source, limits).digit()


def grey(source: str | Path | bytes, limits: Limits = DEFAULTS) -> GreyPicture:
    """The user's own picture as grey values, before anything is looked for in it. As `read`, and raises its errors."""
    with io.BytesIO(source) if isinstance(source, bytes) else opened(source) as file:
        name = _format(file.read(HEAD))
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if name in DECODERS:
            check("bytes", size, limits.file_bytes)
            return _decoded(file.read(), name, limits)
        if name == "HEIC":
            heif.register()
        try:
            with Image.open(file) as picture:
                limits.check_size(*picture.size)
                picture.load()
                return GreyPicture.of(picture, picture.getexif().get(ORIENTATION, 1))
        except PictureError:
            raise
        except Exception as error:
            raise _picture_error("the picture", size, error) from error


def _decoded(content: bytes, name: str, limits: Limits) -> GreyPicture:
    try:
        return GreyPicture.of(*DECODERS[name](content, limits))
    except PictureError:
        raise
    except Exception as error:
        raise _picture_error(f"the {name} file", len(content), error) from error


def _format(head: bytes) -> str | None:
    """The name of a known format, by a file's first bytes."""
    return next((name for name, pattern in PATTERNS.items() if pattern.match(head)), None)


def _picture_error(what: str, size: int, error: Exception) -> PictureError:
    """The error for the user: Pillow's decoders raise nearly every kind. `size` is the file's, in bytes."""
    match error:
        case UnidentifiedImageError():
            return PictureError("not a picture in a format that Pillow reads; give one, such as a PNG or JPEG file")
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return PictureError(f"the picture is too large: {error_text(error)[:200]}")
        case MemoryError():
            return PictureError("the picture needs more memory than there is")
        case struct.error() | IndexError():  # of our own reading of the header
            return PictureError(f"{what} is cut short: it has {size:,} bytes and refers to more")
    return PictureError(f"{what} is damaged: {error_text(error)[:200]}")
