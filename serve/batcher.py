"""The batcher: takes all jobs that wait, runs the model once, hands each its own rows. Knows neither gRPC nor ONNX."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from digits.model.answer import Answer
from digits.serve.errors import call_error
from digits.serve.job import FOREVER, Answers, Job
from digits.serve.statistics import Statistics

Run = Callable[[NDArray[np.uint8]], Answer]

MOST_MICROSECONDS = 2**32 - 1  # that a uint32 holds: more than an hour


class Source(Protocol):
    """Where jobs come from: a transport's side of the batcher."""

    def take(self) -> list[Job] | None:
        """Waits for the first job, then returns all that wait and fit; None when there will be no more."""

    def ran(self, images: int, seconds: float) -> None:
        """Is told how long such a batch took in all."""


@dataclass(eq=False)
class Batcher:
    """Runs the model on one batch after another. Work-conserving: it does not wait while there is a job."""

    run: Run
    model_version: str
    statistics: Statistics  # where it counts
    novelty_threshold: float | None = None

    def serve(self, source: Source) -> None:
        """The loop of a batcher's thread; several threads may run it. Ends when the source does."""
        while (jobs := source.take()) is not None:
            source.ran(*self.answer(jobs))

    def answer(self, jobs: Sequence[Job]) -> tuple[int, float]:
        """Answers each job, also if the model fails. Returns their number of images, and the seconds it took."""
        started = time.monotonic()
        images = sum([job.request.count for job in jobs])
        try:
            pixels = np.frombuffer(b"".join([job.request.pixels for job in jobs]), np.uint8).reshape(images, 28, 28)
            probabilities, novelty = self.run(pixels)
            if len(probabilities) != images:
                raise ValueError(f"{len(probabilities)} rows for {images} images")  # noqa: TRY301 answered below
            compute_seconds = time.monotonic() - started
            answers = Answers(
                digits=probabilities.argmax(axis=1).astype(np.uint8).tobytes(),
                confidences=probabilities.max(axis=1).tobytes(),
                probabilities=probabilities.tobytes(),
                batch_size=images,
                compute_microseconds=round(compute_seconds * 1e6),
                model_version=self.model_version,
                novelties=b"" if novelty is None else novelty.tobytes(),
                novelty_threshold=self.novelty_threshold,
            )
            queue_seconds = len(jobs) * started - sum([job.arrived for job in jobs])
            self.statistics.record_batch(len(jobs), images, queue_seconds, compute_seconds)
        except Exception as unforeseen:  # noqa: BLE001 the callers get its id, the log has all of it
            error = call_error(f"the model failed on a batch of {len(jobs)} calls", unforeseen)
            for job in jobs:
                job.fail(error)
        else:
            _send(jobs, answers, started)
        return images, time.monotonic() - started


def _send(jobs: Sequence[Job], answers: Answers, started: float) -> None:
    """Each job its own rows, in the order in which their images were joined."""
    start, arrived, waited = 0, FOREVER, 0
    for job in jobs:
        request = job.request
        stop = start + request.count
        if job.arrived != arrived:  # most come together
            arrived = job.arrived
            waited = min(round((started - arrived) * 1e6), MOST_MICROSECONDS)
        try:
            job.answer(request.encode(answers, start, stop, waited))
        except Exception as unforeseen:  # noqa: BLE001 the others of its batch get their answers
            job.fail(call_error("an answer could not be sent", unforeseen))
        start = stop
