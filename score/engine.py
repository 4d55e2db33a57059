"""Chunks to answers on this machine: every core reads and decodes, while others' digits are classified."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from digits.report.cores import usable_cores
from digits.score.chunk import Scored
from digits.score.decoding import Decoders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from digits.score.chunk import Chunk, Decoded
    from digits.score.classifiers import Classifier
    from digits.score.settings import ScoreSettings

    # Gives the chunks' answers, in the chunks' order.
    Engine = Callable[[Iterable[Chunk]], Iterator[Scored]]


@contextlib.contextmanager
def here(settings: ScoreSettings, classifier: Classifier) -> Iterator[Engine]:
    """The engine of this machine's cores."""
    processes = settings.processes or usable_cores()
    ahead = 2 * processes + 2  # chunks at work, so that no core waits
    with ThreadPoolExecutor(ahead) as threads, Decoders(processes) as decoders:

        def work(chunk: Chunk) -> Scored:
            return answer(chunk, decoders.decode(chunk), classifier)

        def engine(chunks: Iterable[Chunk]) -> Iterator[Scored]:
            waiting: deque[Future[Scored]] = deque()
            for chunk in chunks:
                waiting.append(threads.submit(work, chunk))
                while len(waiting) > ahead or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        try:
            yield engine
        finally:
            classifier.close()  # a thread may wait for a server
            threads.shutdown(wait=False, cancel_futures=True)


def answer(chunk: Chunk, decoded: Decoded, classifier: Classifier) -> Scored:
    """A chunk's answers."""
    if not len(decoded.pixels):
        return Scored(chunk, decoded, np.zeros(0, np.uint8), np.zeros(0, np.float32), None)
    predictions = classifier.classify(decoded.pixels)
    return Scored(chunk, decoded, predictions.digits, predictions.confidences, predictions.probabilities)
