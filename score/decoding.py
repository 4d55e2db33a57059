"""Pictures to digits, on all cores: in processes that only read and decode."""

import pickle
from collections.abc import Sequence
from queue import LifoQueue
from typing import Self

import numpy as np
from numpy.typing import NDArray

from digits.images import picture, rows
from digits.images.errors import BlankError, PictureError, SeveralDigitsError, UnclearError
from digits.images.limited_process import LimitedProcess, answer_messages
from digits.images.limits import limit_time
from digits.images.rows import Rows
from digits.score.chunk import BLANK, SEVERAL, UNCLEAR, UNREADABLE, Content, Decoded, Problem
from digits.score.errors import ScoreError

Contents = Sequence[Content] | NDArray[np.uint8]  # a chunk's

CRASHED = Problem(UNREADABLE, "the process that decoded it crashed")
NO_DIGITS = np.zeros((0, 28, 28), np.uint8)
STATUSES = {BlankError: BLANK, SeveralDigitsError: SEVERAL, UnclearError: UNCLEAR}


def decode(contents: Contents, *, several: bool = False, limited: bool = False) -> Decoded:
    """The digits in a chunk's contents; of each that has none, the reason.

    A path is the user's own file, in any format; bytes are from an archive, and have to be PNG, JPEG or WebP. If
    `limited`, a picture that takes too long ends the process. If `several`, a picture may have any number of digits.
    """
    if isinstance(contents, np.ndarray):
        return _without_blank(contents)
    digits, problems, pages = [NO_DIGITS], {}, {}
    for index, content in enumerate(contents):
        if limited:
            limit_time()
        found = content if isinstance(content, Problem) else _found(content, several=several)
        if isinstance(found, Problem):
            problems[index] = found
        elif isinstance(found, Rows):
            pages[index] = found
            digits.append(found.pixels())
        else:
            digits.append(found[np.newaxis])
    return Decoded(np.concatenate(digits), problems, pages)


def _without_blank(pixels: NDArray[np.uint8]) -> Decoded:
    """Digits that were arrays already, uint8 [n, 28, 28], without those in which all pixels are equal."""
    blank = np.ptp(pixels, axis=(1, 2)) == 0
    problems = {
        int(i): Problem(BLANK, f"the image is blank: all its pixels are {pixels[i, 0, 0]}")
        for i in np.flatnonzero(blank)
    }
    return Decoded(pixels[~blank] if problems else pixels, problems)


def _found(content: str | bytes, *, several: bool) -> NDArray[np.uint8] | Rows | Problem:
    """The digit of a picture, uint8 [28, 28], or its rows of several; or why it has none."""
    try:
        grey = picture.decode_grey(content) if isinstance(content, bytes) else picture.grey(content)
        return rows.find(grey) if several else grey.digit()
    except PictureError as error:
        return Problem(STATUSES.get(type(error), UNREADABLE), str(error))
    except OSError as error:
        return Problem(UNREADABLE, error.strerror or str(error))
    except MemoryError:
        return Problem(UNREADABLE, "the picture needs more memory than is available")


class Decoders:
    """Processes that decode, started when there is work for them; for any threads. A context manager, which ends them.

    A picture that crashes a process (or makes the system kill it) is found by decoding its chunk's pictures one by one;
    all other pictures are decoded as usual.
    """

    def __init__(self, processes: int, *, several: bool = False) -> None:
        self._closed = False
        self._several = several
        self._all = [LimitedProcess(__name__) for _ in range(processes)]
        self._idle = LifoQueue[LimitedProcess]()  # so that a slow source starts few of them
        for process in self._all:
            self._idle.put(process)

    def decode(self, contents: Contents) -> Decoded:
        """As the function `decode`, in the next process that has nothing to do."""
        if isinstance(contents, np.ndarray):  # no work for a process
            return decode(contents)
        process = self._idle.get()
        try:
            return self._decoded(process, contents)
        finally:
            self._idle.put(process)

    def _decoded(self, process: LimitedProcess, contents: Sequence[Content]) -> Decoded:
        if self._closed:
            raise ScoreError("the scoring has ended")
        try:
            decoded: Decoded = pickle.loads(process.ask(pickle.dumps((contents, self._several))))  # noqa: S301 of our own process
        except EOFError:
            _require_process(process)  # or every picture would be blamed
            if len(contents) == 1:
                return Decoded(NO_DIGITS, {0: CRASHED})
            found = [self._decoded(process, [content]) for content in contents]
            problems = {index: one.problems[0] for index, one in enumerate(found) if one.problems}
            pages = {index: one.rows[0] for index, one in enumerate(found) if one.rows}
            return Decoded(np.concatenate([one.pixels for one in found]), problems, pages)
        return decoded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for process in self._all:
            process.kill()


def _require_process(process: LimitedProcess) -> None:
    """Raises ScoreError if there is no process that decodes."""
    try:
        process.ask(pickle.dumps(([], False)))
    except (EOFError, OSError) as error:
        raise ScoreError("no process for decoding can be started here; is there memory left?") from error


def _answer(message: bytes) -> bytes:
    contents, several = pickle.loads(message)  # noqa: S301 our caller's
    return pickle.dumps(decode(contents, several=several, limited=True))


if __name__ == "__main__":
    answer_messages(_answer)
