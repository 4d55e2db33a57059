"""How a picture has to be turned, as its EXIF or XMP data say."""

import re
import struct

ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
LONG = 4
ENTRY_BYTES = 12
XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation as EXIF numbers it, 1 to 8; 1, upright, if neither block says anything readable."""
    if not exif and not xmp:
        return 1
    exif = exif.removeprefix(PREFIX)
    try:
        order = ORDERS[exif[:4]]
        (place,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, place)
        for start in range(place + 2, place + 2 + count * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind = struct.unpack_from(order + "HH", exif, start)
            if tag == ORIENTATION:
                (value,) = struct.unpack_from(order + ("I" if kind == LONG else "H"), exif, start + 8)
                return int(value)
    except (KeyError, struct.error):
        pass
    found = XMP.search(xmp)
    return int(found[1]) if found else 1
