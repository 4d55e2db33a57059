"""A digit on a page with a hard shadow, or with something else at its border: neither is a smooth surface.

What is thin stands out from its surroundings by the top-hat transformation, the difference from the closing (Meyer,
"Iterative Image Transformations for an Automatic Screening of Cervical Smears", 1979). What reaches the border is left
out, and the part with most ink is the digit, if around it there are two tones.
"""

import numpy as np

from digits.images import parts, threshold
from digits.images.closing import closed_square, shades
from digits.images.errors import UnclearError
from digits.images.paper import Grey, border

SMALL = 40  # cells along the longer side: in smaller pictures the digit is not thin
THICK = 0.12  # of the longer side: the thickest stroke
SEEN = 0.35  # of the strongest pixels: what may be ink
STRONGEST = 0.995  # their quantile
LEAST = 24  # grey levels: what is fainter is no ink
NOISE = 4  # medians: what is nearer is paper
DUST = 0.05  # of the strongest part's ink: weaker parts are dust
FILLS = 0.7  # of the longer side: a digit that is larger is a crop of its own, and may reach the border
AROUND = 0.3  # of its size: the paper around it


def lifted(grey: Grey, *, light: bool, alone: bool) -> tuple[Grey, tuple[int, int]]:
    """The digit and the paper around it, evenly lit, float32 [h, w], and its corner's row and column.

    Args:
        grey: The picture's grey values from 0 to 255, float32 [h, w], at most 256 a side.
        light: Whether the ink is light.
        alone: Whether nothing else that is thin may reach the border.

    Raises:
        UnclearError: there is not one thin thing that stands out clearly.
    """
    view = shades(grey, inverted=light)
    if max(view.shape) < SMALL:
        raise UnclearError("too small to tell a shadow from ink")
    off = (closed_square(view, 1 + int(THICK * max(view.shape))) - view).astype(np.float32)
    ink = off > max(LEAST, NOISE * float(np.median(off)), SEEN * float(np.quantile(off, STRONGEST)))
    labels = parts.connected(parts.grown(ink))
    amounts = np.bincount(labels.ravel(), weights=np.where(ink, off, 0).ravel())
    reaching = np.zeros(amounts.shape, np.bool_)
    reaching[border(labels)] = True
    reaching[0] = False
    most = np.where(reaching, 0, amounts)[1:].max(initial=0)
    if not most:
        raise UnclearError("nothing thin stands out")
    whole = amounts >= DUST * most
    strokes = ink & (whole & ~reaching)[labels]
    box = parts.extent(strokes)
    size = max(side.stop - side.start for side in box)
    around = 3 + int(AROUND * size)
    top, left = (max(0, side.start - around) for side in box)
    near = slice(top, box[0].stop + around), slice(left, box[1].stop + around)
    others = whole & reaching
    if size > FILLS * max(view.shape) or others[labels[near]].any() or (alone and others.any()):
        raise UnclearError("something else is near what stands out")
    even = 255 - off[near]
    threshold.check(even)
    return even, (top, left)
