"""What one picture file may cost: by its header, wherever it is opened; and by the system, in processes that decode."""

import resource
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from digits.images.errors import PictureError

MEGA = 2**20
MEMORY = 768 * MEGA  # bytes of address space of a process above what it has when it begins
SECONDS = 20  # of a core, for one picture


@dataclass(frozen=True, slots=True)
class Limits:
    """What the header of a file may say. The defaults hold any file to about 300 MB and three seconds of one core.

    Attributes:
        file_bytes: Size of the file.
        side: Pixels along the longer side.
        pixels: Pixels of the picture.
        frames: Frames of an animation, of which only the first is decoded.
        scan_pixels: Pixels of a JPEG times its scans: each scan costs time for every pixel.
        parts: Chunks or segments: each costs time, however small it is.
        decoder_bytes: Memory that the decoder needs, estimated from the header.
    """

    file_bytes: int = 32 * MEGA
    side: int = 16_384
    pixels: int = 64 * MEGA
    frames: int = 64
    scan_pixels: int = 1024 * MEGA
    parts: int = 65_536
    decoder_bytes: int = 256 * MEGA

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


def check(what: str, value: int, limit: int) -> None:
    """Raises PictureError for a value above its limit."""
    if value > limit:
        raise PictureError(f"the picture has too many {what}: {value:,}; at most {limit:,} are accepted")


def limit_memory() -> None:
    """Lets this process take `MEMORY` more of address space, and leave no core file."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)
    _limit(resource.RLIMIT_CORE, 0)


def limit_time() -> None:
    """Has the system end this process, by SIGXCPU, when it has used `SECONDS` more of a core."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + SECONDS)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
