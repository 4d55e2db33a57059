"""Counters of a server since its start, written by all of its worker processes in memory that they share."""

import mmap
import os
import threading
import time
from dataclasses import dataclass
from typing import get_args

import numpy as np

from digits.serve.errors import Reason

REASONS: tuple[Reason, ...] = get_args(Reason)

BATCHES, CALLS, IMAGES, QUEUE_NS, COMPUTE_NS, LAST_MS, FAIL_NS, FIRST_REASON = range(8)
REASON_INDEX = {reason: FIRST_REASON + i for i, reason in enumerate(REASONS)}
FIRST_SIZE = FIRST_REASON + len(REASONS)
LARGEST_SIZE = 1024  # of the batches that are counted by size
FIRST_SIZE_NS = FIRST_SIZE + LARGEST_SIZE
ROW = FIRST_SIZE_NS + LARGEST_SIZE
ROW_BYTES = 8 * ROW
LARGEST = 2**63 - 1  # after which a sum restarts from 0: with 1,000 callers that always wait, after half a year


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of all workers."""

    batches: int  # how many batches the model ran on
    calls: int  # how many were answered
    images: int  # how many were in them
    queue_ns: int  # how long these calls waited for their batches, together
    compute_ns: int  # how long their batches took, together: a batch counts once for each of its calls
    last_ms: int  # when the last batch ended, in milliseconds since 1970; 0 if there was none
    failures: dict[Reason, int]  # by reason, the number of calls that were not answered, if it is not 0
    failure_ns: int  # how long these were in the server, together
    batch_sizes: dict[int, tuple[int, int]]  # by images, up to LARGEST_SIZE: how many batches, and their time together


def create(workers: int) -> int:
    """Memory for so many workers, as a file descriptor that child processes inherit and the caller closes."""
    fd = os.memfd_create("digits-statistics", 0)
    os.ftruncate(fd, workers * ROW_BYTES)
    return fd


class Statistics:
    """One worker's view: it adds to its own row, from any of its threads, and reads the rows of all.

    Each row is written by one process only, so the processes need no lock. The row of a worker that died still counts;
    the worker that replaces it goes on with it.
    """

    def __init__(self, fd: int | None = None, worker: int = 0) -> None:
        """Maps the memory that `create` returned, or memory of its own; the descriptor may be closed after it."""
        size = ROW_BYTES if fd is None else os.fstat(fd).st_size
        if not 0 <= worker < size // ROW_BYTES:
            raise ValueError(f"there is no row for worker {worker}: the memory has {size // ROW_BYTES}")
        memory = mmap.mmap(-1 if fd is None else fd, size)
        self._rows = np.frombuffer(memory, np.int64).reshape(-1, ROW)
        self._row = memoryview(memory).cast("q")[worker * ROW : (worker + 1) * ROW]  # faster than numpy, one by one
        self._lock = threading.Lock()

    def record_batch(self, calls: int, images: int, queue_seconds: float, compute_seconds: float) -> None:
        """A batch was answered: its calls had waited `queue_seconds` together, and the model took `compute_seconds`."""
        compute_ns = int(compute_seconds * 1e9)
        row = self._row
        with self._lock:
            row[BATCHES] += 1
            row[CALLS] += calls
            row[IMAGES] += images
            row[QUEUE_NS] = (row[QUEUE_NS] + int(queue_seconds * 1e9)) & LARGEST
            row[COMPUTE_NS] = (row[COMPUTE_NS] + calls * compute_ns) & LARGEST
            row[LAST_MS] = time.time_ns() // 1_000_000
            if images <= LARGEST_SIZE:
                row[FIRST_SIZE - 1 + images] += 1
                row[FIRST_SIZE_NS - 1 + images] += compute_ns

    def record_failure(self, reason: Reason, seconds: float = 0.0) -> None:
        """A call was not answered, after so many seconds."""
        row = self._row
        with self._lock:
            row[REASON_INDEX[reason]] += 1
            row[FAIL_NS] += int(seconds * 1e9)

    def totals(self) -> Totals:
        """As of now; a batch that is being recorded may be in one count and not yet in another."""
        sums = self._rows.sum(axis=0).tolist()
        counts, times = sums[FIRST_SIZE:FIRST_SIZE_NS], sums[FIRST_SIZE_NS:]
        return Totals(
            batches=sums[BATCHES],
            calls=sums[CALLS],
            images=sums[IMAGES],
            queue_ns=sums[QUEUE_NS],
            compute_ns=sums[COMPUTE_NS],
            last_ms=int(self._rows[:, LAST_MS].max()),
            failures={reason: sums[index] for reason, index in REASON_INDEX.items() if sums[index]},
            failure_ns=sums[FAIL_NS],
            batch_sizes={
                size: (count, ns) for size, (count, ns) in enumerate(zip(counts, times, strict=True), 1) if count
            },
        )
