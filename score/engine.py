"""Chunks to answers on this machine: processes decode on every core, and threads classify what they decoded."""

import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from digits.score import several
from digits.score.chunk import NOT_A_DIGIT, NOT_A_DIGIT_ERROR, Chunk, Decoded, Problem, Scored
from digits.score.classifiers import Classifier
from digits.score.decoding import Decoders
from digits.score.settings import ScoreSettings
from digits.storage.cores import usable_cores

# Gives the chunks' answers, in the chunks' order.
Engine = Callable[[Iterable[Chunk]], Iterator[Scored]]

CALLS = 4  # to a server, in flight


@contextlib.contextmanager
def local_engine(settings: ScoreSettings, classifier: Classifier) -> Iterator[Engine]:
    """The engine of this machine's cores: each thread has a process decode a chunk, and then classifies it in turn."""
    processes = settings.processes or usable_cores()
    calls = 1 if settings.server is None else CALLS
    turns = threading.Semaphore(calls)
    # The processes inherit the mask: this one alone takes the signals that a service manager sends to all of them.
    masked = (signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    threads = ThreadPoolExecutor(processes + calls, initializer=signal.pthread_sigmask, initargs=masked)
    with Decoders(processes, several=settings.several) as decoders:

        def scored(chunk: Chunk) -> Scored:
            decoded = decoders.decode(chunk.contents)
            with turns:
                return answer(chunk, decoded, classifier, settings)

        def engine(chunks: Iterable[Chunk]) -> Iterator[Scored]:
            waiting = deque[Future[Scored]]()
            for chunk in chunks:
                waiting.append(threads.submit(scored, chunk))
                while waiting and (len(waiting) > 2 * (processes + calls) or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        try:
            yield engine
        finally:  # not joined: a thread may wait for a server until the classifier is closed
            threads.shutdown(wait=False, cancel_futures=True)


def answer(chunk: Chunk, decoded: Decoded, classifier: Classifier, settings: ScoreSettings) -> Scored:
    """A chunk's answers."""
    if settings.several and not isinstance(chunk.contents, np.ndarray):
        return several.answer(chunk, decoded, classifier, settings)
    if not len(decoded.pixels):
        return Scored(chunk, decoded, np.zeros(0, np.uint8), np.zeros(0, np.float32), None, None)
    predictions = classifier.classify(decoded.pixels, include_probabilities=settings.probabilities)
    places = np.delete(np.arange(len(chunk)), [*decoded.problems])  # of the digits among the inputs
    novelties, rejected = None, np.zeros(len(places), np.bool_)
    if predictions.novelties is not None:
        novelties = np.full(len(chunk), np.nan, np.float32)
        novelties[places] = predictions.novelties
    if predictions.not_a_digit is not None and not isinstance(chunk.contents, np.ndarray):
        rejected = predictions.not_a_digit  # an array keeps its answers: its owner says that it holds digits
    problems = decoded.problems | {int(i): Problem(NOT_A_DIGIT, NOT_A_DIGIT_ERROR) for i in places[rejected]}
    probabilities = predictions.probabilities
    return Scored(
        chunk,
        Decoded(decoded.pixels[~rejected], problems),
        predictions.digits[~rejected],
        predictions.confidences[~rejected],
        None if probabilities is None else probabilities[~rejected],
        novelties,
    )
