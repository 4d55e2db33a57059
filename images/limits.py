"""What one picture file may cost, and a file that has been checked against it."""

from dataclasses import dataclass
from math import prod

from digits.images.errors import PictureError

MEGA = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one encoded file may cost. The defaults hold any file to about 100 MB and one second of one core.

    Attributes:
        file_bytes: The file itself.
        side: Pixels along the longer side.
        pixels: Of the first frame, and of the screen that a GIF lays it on.
        frames: Frames or pages, of which the first alone is decoded.
        scans: Passes over one JPEG; each costs time by the pixels of the whole picture.
        parts: Pieces of a file of any kind: chunks, segments, blocks, strips; each costs time however small.
        slow_bytes: Of a TIFF compressed by LZW or PackBits, which take a second for some megabytes.
        decoder_bytes: Memory that the decoder needs, as estimated from the file's header.
    """

    file_bytes: int = 8 * MEGA
    side: int = 16_384
    pixels: int = 16 * MEGA
    frames: int = 64
    scans: int = 24
    parts: int = 65_536
    slow_bytes: int = MEGA
    decoder_bytes: int = 80 * MEGA

    def check_file(self, content: bytes) -> None:
        """Raises PictureError for an empty or a large file."""
        if not content:
            raise PictureError("the picture is empty: 0 bytes; expected a picture file")
        within("bytes", len(content), self.file_bytes)

    def check_size(self, width: int, height: int) -> None:
        """Raises PictureError for a picture without pixels, or with too many."""
        size = f"{width} x {height} pixels"
        if width < 1 or height < 1:
            raise PictureError(f"the picture is empty: {size}")
        if max(width, height) > self.side:
            raise PictureError(f"the picture is too large: {size}; at most {self.side:,} along one side are accepted")
        if width * height > self.pixels:
            raise PictureError(f"the picture is too large: {size}; at most {self.pixels:,} pixels are accepted")

    def check_frames(self, frames: int) -> None:
        within("frames", frames, self.frames)

    def check_scans(self, scans: int) -> None:
        within("scans", scans, self.scans)

    def check_parts(self, parts: int) -> None:
        within("parts", parts, self.parts)

    def check_decoder_bytes(self, *needed: tuple[int, ...]) -> None:
        """Raises PictureError where these buffers, each given by what its size is the product of, are too much."""
        within("bytes to decode it", sum(map(prod, needed)), self.decoder_bytes)


@dataclass(frozen=True, slots=True)
class Still:
    """One frame in a file that says nothing else: no comment, profile, thumbnail or other frame is left.

    Attributes:
        content: The file.
        orientation: As EXIF numbers it, 1 to 8; 1 is upright.
    """

    content: bytes
    orientation: int = 1


def within(what: str, value: int, limit: int) -> None:
    """Raises PictureError for a value above its limit."""
    if value > limit:
        raise PictureError(f"the picture has too many {what}: {value:,}; at most {limit:,} are accepted")
