"""Whether ink shows one digit. Anything else is rejected with a reason.

The limits lie outside the range of MNIST's digits, also as photos: one photo in a thousand is rejected, including
digits with broken strokes and filled loops.
"""

import numpy as np
from numpy.typing import NDArray

from digits.images import parts
from digits.images.errors import BlankError, SeveralDigitsError, UnclearError
from digits.images.paper import Grey, border
from digits.images.parts import Mask

LONGEST = 4.5  # of all strokes, in lengths of the digit: an 8 has 2.5, a 5 drawn over again 4.2, a page of text 10
OTHER_SIDE = 0.15  # of the ink's area: what is as far from the paper's tone in the other direction
BORDER = 0.06  # of the border: ink there, unless it reaches all four sides of a close crop
FULL, SLIM = 0.75, 0.4  # of its box: a disc fills 0.79; and how square the box is, since a 1 may fill its box
HOLLOW, HOLE = 0.65, 0.01  # of full ink: a hole has less; and of its box: smaller holes are noise
GAP = 0.12  # of the tallest part's height: parts nearer than this are one broken digit
TALL = 0.5  # of the tallest part's height: lower ones, such as the bar of a 5, are not digits
NEIGHBOUR = 0.7  # of the ink's height: two parts as tall as this are two digits, if they are side by side
APART = 0.95  # and if the ink is wider than this, of its height: the halves of a broken 0 are narrower
MARKS = 12  # parts: more are not a row of digits
ROUGH = 16.0  # of 255 grey levels, the standard deviation: no paper is so rough


def check(ink: Grey, strokes: Mask, pieces: int, *, cropped: bool = False) -> None:
    """Accepts one digit.

    Args:
        ink: How far off the paper, float32 [h, w]: 1 is ink, 0 paper, negative the other direction.
        strokes: Where the digit is, bool [h, w], dust left out.
        pieces: How many connected parts the strokes have.
        cropped: Whether the digit may touch the border.

    Raises:
        SeveralDigitsError: digits side by side, or one above another.
        UnclearError: anything else.
    """
    _check_texture(ink, strokes)
    if pieces > 1:
        _check_parts(strokes)
    _check_neighbours(strokes)
    down, across = parts.extent(strokes)
    box = strokes[down, across]
    if box.mean() > FULL and min(box.shape) > SLIM * max(box.shape) and not _has_hole(ink[down, across]):
        raise unclear(f"a blot that fills {box.mean():.0%} of its box, more than a digit's strokes fill")
    share = border(strokes).mean()
    if not cropped and share > BORDER and strokes.shape != box.shape:
        raise unclear(f"ink along {share:.0%} of the picture's border, where paper is expected")


def _has_hole(ink: Grey) -> bool:
    """Whether full ink encloses paper, as in a thick 0 or 8."""
    sizes = np.bincount(parts.connected(np.pad(ink < HOLLOW, 1, constant_values=True)).ravel())[1:]
    return int((sizes > HOLE * ink.size).sum()) > 1


def blank(peak: float, noise: float) -> BlankError | UnclearError:
    """The error for a picture whose farthest pixel is `peak` from the paper, with noise of this standard deviation."""
    if noise > ROUGH:
        return unclear(f"tones all over, {noise:.0f} of 255 grey levels off its paper, and {peak:.0f} at most")
    return BlankError(
        f"the picture is blank: nothing is farther than {peak:.0f} of 255 grey levels from the paper, whose noise"
        f" is {noise:.1f}; expected one digit that stands out"
    )


def lined(count: int) -> UnclearError:
    """The error for a picture with so many straight lines that is not read with them and not without them."""
    lines = "a straight line" if count == 1 else f"{count} straight lines"
    return UnclearError(
        f"the picture shows no clear digit: it has {lines}, as of a frame or of ruled paper; crop it inside the lines,"
        " or give one digit on plain paper"
    )


def _check_texture(ink: Grey, strokes: Mask) -> None:
    down, across = parts.extent(strokes)
    length = parts.outline(strokes).sum() / 2 / max(down.stop - down.start, across.stop - across.start)
    if length > LONGEST:
        raise unclear(f"strokes {length:.1f} times as long as it is large, where a digit has {LONGEST} at most")
    other = np.count_nonzero(ink < -0.5) / np.count_nonzero(ink > 0.5)  # noqa: PLR2004 - nearer to ink than to paper
    if other > OTHER_SIDE:
        raise unclear(f"spots both lighter and darker than its paper, the ones {other:.0%} as large as the others")


def _check_parts(strokes: Mask) -> None:
    found = parts.boxes(_clusters(strokes))
    heights = found[:, 2] - found[:, 0]
    tall = found[heights >= TALL * heights.max()]
    if len(tall) > MARKS:
        raise unclear(f"{len(tall)} separate marks")
    if len(tall) > 1:
        middles = tall[:, :2] + tall[:, 2:]
        down, across = np.ptp(middles, axis=0)
        where = "one above another" if down > across else "side by side"
        raise _several(len(tall), where)


def _check_neighbours(strokes: Mask) -> None:
    """Two parts side by side that are nearly as tall as all ink, which is wide, are two digits, however near."""
    found = parts.boxes(parts.connected(strokes))
    top, left = found[:, :2].min(axis=0)
    bottom, right = found[:, 2:].max(axis=0)
    tall = found[found[:, 2] - found[:, 0] >= NEIGHBOUR * (bottom - top)]
    if len(tall) == 2 and right - left > APART * (bottom - top):  # noqa: PLR2004 - two digits
        one, other = sorted(tall.tolist(), key=lambda box: box[1])
        if one[3] <= other[1]:
            raise _several(2, "side by side")


def _several(count: int, where: str) -> SeveralDigitsError:
    return SeveralDigitsError(f"the picture shows {count} digits {where}; crop it to one, or say `digits read`")


def _clusters(strokes: Mask) -> NDArray[np.intp]:
    """A number for each group of parts that are near each other, intp [h, w], 0 outside the strokes."""
    found = parts.boxes(parts.connected(strokes))
    tallest = (found[:, 2] - found[:, 0]).max()
    joined = strokes
    for _ in range(round(GAP * tallest / 2)):
        joined = parts.grown(joined)
    return np.asarray(parts.connected(joined) * strokes)


def unclear(found: str) -> UnclearError:
    """The error for a picture that has something else than a digit."""
    return UnclearError(f"the picture shows no clear digit: it has {found}; give one digit on plain paper")
