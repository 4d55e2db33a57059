"""Chunks to answers on this machine: processes decode on every core, and a thread classifies what they decoded."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from digits.score.chunk import Chunk, Decoded, Scored
from digits.score.classifiers import Classifier
from digits.score.decoding import Decoders
from digits.score.settings import ScoreSettings
from digits.storage.cores import usable_cores

# Gives the chunks' answers, in the chunks' order.
Engine = Callable[[Iterable[Chunk]], Iterator[Scored]]

T = TypeVar("T")
CALLS = 4  # to a server, in flight: one thread each


@contextlib.contextmanager
def local_engine(settings: ScoreSettings, classifier: Classifier) -> Iterator[Engine]:
    """The engine of this machine's cores."""
    processes = settings.processes or usable_cores()
    calls = 1 if settings.server is None else CALLS
    threads = ThreadPoolExecutor(calls)
    with Decoders(processes) as decoders:

        def decoded(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Decoded]]:
            begun = ((chunk, decoders.submit(chunk.contents)) for chunk in chunks)
            for chunk, future in _in_flight(begun, 2 * processes + 2):
                yield chunk, decoders.result(chunk.contents, future)

        def engine(chunks: Iterable[Chunk]) -> Iterator[Scored]:
            begun = ((one[0], threads.submit(answer, *one, classifier, settings)) for one in decoded(chunks))
            return (future.result() for _, future in _in_flight(begun, calls + 1))

        try:
            yield engine
        finally:  # not joined: a thread may wait for a server until the classifier is closed
            threads.shutdown(wait=False, cancel_futures=True)


def _in_flight(begun: Iterable[tuple[Chunk, Future[T]]], most: int) -> Iterator[tuple[Chunk, Future[T]]]:
    """The same pairs, in their order. Begins more of them while the first is not done, up to `most`."""
    waiting: deque[tuple[Chunk, Future[T]]] = deque()
    for one in begun:
        waiting.append(one)
        while waiting and (len(waiting) > most or waiting[0][1].done()):
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def answer(chunk: Chunk, decoded: Decoded, classifier: Classifier, settings: ScoreSettings) -> Scored:
    """A chunk's answers."""
    if not len(decoded.pixels):
        return Scored(chunk, decoded, np.zeros(0, np.uint8), np.zeros(0, np.float32), None)
    predictions = classifier.classify(decoded.pixels, include_probabilities=settings.probabilities)
    return Scored(chunk, decoded, predictions.digits, predictions.confidences, predictions.probabilities)
