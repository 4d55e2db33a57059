"""GIF files: the first frame and its transparency, on its screen."""

import struct

from digits.images.errors import PictureError
from digits.images.limits import Limits, Still

MAGICS = b"GIF87a", b"GIF89a"
EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B
CONTROL = 0xF9  # the extension that says which colour is transparent
HAS_PALETTE = 0x80
SCREEN_BYTES, FRAME_BYTES = 13, 10


def still(content: bytes, limits: Limits) -> Still:
    """The first frame of a GIF file.

    Raises:
        PictureError: outside the limits, or cut short.
    """
    place = SCREEN_BYTES + palette_bytes(content[10])
    screen, control, first = content[:place], b"", b""
    frames = parts = 0
    while place < len(content) and content[place] != END:
        if content[place] == IMAGE:
            body = place + FRAME_BYTES + palette_bytes(content[place + 9]) + 1
            frames += 1
            limits.check_frames(frames)
        elif content[place] == EXTENSION:
            body = place + 2
        else:
            raise PictureError(f"the GIF file is damaged: its byte {place}, 0x{content[place]:02X}, begins no block")
        end, blocks = after_blocks(content, body, limits.parts - parts)
        parts += blocks
        limits.check_parts(parts)
        if content[place] == IMAGE:
            first = first or content[place:end]
        elif content[place + 1] == CONTROL and not first:
            control = content[place:end]
        place = end
    if not first:
        raise PictureError("the GIF file has no frames; expected one")
    check_frame(screen, first, limits)
    return Still(screen + control + first + bytes([END]))


def palette_bytes(flags: int) -> int:
    """How many bytes of palette follow, by the flags of a screen or a frame."""
    return 3 << (flags & 7) + 1 if flags & HAS_PALETTE else 0


def after_blocks(content: bytes, place: int, most: int) -> tuple[int, int]:
    """Where the blocks that begin there end, and how many they are; no more than one above `most` are looked at."""
    count = 1
    while size := content[place]:
        place += 1 + size
        count += 1
        if count > most:
            break
    return place + 1, count


def check_frame(screen: bytes, frame: bytes, limits: Limits) -> None:
    """Pillow enlarges the screen to the frame, so that both count."""
    left, top, width, height = struct.unpack_from("<HHHH", frame, 1)
    limits.check_size(width, height)
    wide, high = struct.unpack_from("<HH", screen, 6)
    wide, high = max(wide, left + width), max(high, top + height)
    limits.check_size(wide, high)
    limits.check_decoder_bytes((wide, high))
