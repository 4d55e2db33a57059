"""What one picture file may cost. The same limits hold wherever a picture is opened."""

from dataclasses import dataclass
from math import prod

from PIL import Image

from digits.images.errors import PictureError

MEGA = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture file may cost. The defaults hold any file to about 300 MB and three seconds of one core.

    Attributes:
        file_bytes: Size of the file.
        side: Pixels along the longer side.
        pixels: Pixels of the picture.
        frames: Frames of an animation, of which only the first is decoded.
        scan_pixels: Pixels of a JPEG times its scans: each scan costs time for every pixel.
        parts: Chunks or segments: each costs time, however small it is.
        decoder_bytes: Memory that the decoder needs, estimated from the file's header.
    """

    file_bytes: int = 32 * MEGA
    side: int = 16_384
    pixels: int = 64 * MEGA
    frames: int = 64
    scan_pixels: int = 1024 * MEGA
    parts: int = 65_536
    decoder_bytes: int = 256 * MEGA

    def check_file(self, size: int) -> None:
        """Raises PictureError for a file of no bytes, or of too many."""
        if not size:
            raise PictureError("the picture is empty: 0 bytes; expected a picture file")
        _require("bytes", size, self.file_bytes)

    def check_size(self, width: int, height: int) -> None:
        """Raises PictureError for a picture without pixels, or with too many."""
        size = f"{width} x {height} pixels"
        pixels = min(self.pixels, Image.MAX_IMAGE_PIXELS or self.pixels)
        if width < 1 or height < 1:
            raise PictureError(f"the picture is empty: {size}")
        if max(width, height) > self.side:
            raise PictureError(f"the picture is too large: {size}; at most {self.side:,} along one side are accepted")
        if width * height > pixels:
            raise PictureError(f"the picture is too large: {size}; at most {pixels:,} pixels are accepted")

    def check_frames(self, frames: int) -> None:
        """Raises PictureError for an animation of too many frames."""
        _require("frames", frames, self.frames)

    def check_scans(self, scans: int, width: int, height: int) -> None:
        """Raises PictureError for a JPEG of too many scans for its size."""
        _require(f"pixels in its {scans:,} scans", scans * width * height, self.scan_pixels)

    def check_parts(self, parts: int) -> None:
        """Raises PictureError for a file of too many chunks or segments."""
        _require("parts", parts, self.parts)

    def check_decoder_bytes(self, *buffers: tuple[int, ...]) -> None:
        """Raises PictureError where the decoder's buffers are too large. Each is given by the factors of its size."""
        _require("bytes to decode it", sum(map(prod, buffers)), self.decoder_bytes)


def _require(what: str, value: int, limit: int) -> None:
    if value > limit:
        raise PictureError(f"the picture has too many {what}: {value:,}; at most {limit:,} are accepted")
