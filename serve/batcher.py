"""The batcher: takes all jobs that wait, runs the model once, hands each its own rows. Knows neither gRPC nor ONNX."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from digits.serve.errors import internal_error
from digits.serve.job import Answer, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


class Source(Protocol):
    """Where jobs come from: a transport's side of the batcher."""

    def take(self, max_images: int) -> list[Job] | None:
        """Waits for the first job, then returns all that wait, live and fit; None when there will be no more."""


def gather(jobs: Sequence[Job]) -> NDArray[np.uint8]:
    """The images of all jobs, in order: uint8 [sum of n, 28, 28]. A single job's own array is not copied."""
    return jobs[0].pixels if len(jobs) == 1 else np.concatenate([job.pixels for job in jobs])


def split(jobs: Sequence[Job], rows: NDArray[np.float32]) -> Iterator[tuple[Job, NDArray[np.float32]]]:
    """Each job with its own rows: the inverse of `gather`."""
    start = 0
    for job in jobs:
        end = start + len(job.pixels)
        yield job, rows[start:end]
        start = end


def batch_forever(source: Source, run: Callable[[NDArray[np.uint8]], NDArray[np.float32]], max_batch_size: int) -> None:
    """The loop of one transport. Work-conserving: waits for nobody while there is a job. Ends when the source does."""
    while (jobs := source.take(max_batch_size)) is not None:
        _answer(jobs, run)


def _answer(jobs: Sequence[Job], run: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> None:
    started = time.monotonic()
    try:
        pixels = gather(jobs)
        probabilities = run(pixels)
        if len(probabilities) != len(pixels):
            raise ValueError(f"{len(probabilities)} rows for {len(pixels)} images")  # noqa: TRY301 answered below
    except Exception as unforeseen:  # noqa: BLE001 the callers get its id, the log has it whole
        error = internal_error(f"the model failed on a batch of {len(jobs)} calls", unforeseen)
        for job in jobs:
            job.answer.set_exception(error)
        return
    compute_seconds = time.monotonic() - started
    for job, rows in split(jobs, probabilities):
        job.answer.set_result(Answer(rows, started - job.arrived, compute_seconds, len(probabilities)))
