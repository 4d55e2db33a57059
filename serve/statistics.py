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

LARGEST_SIZE = 1024  # of the batches that are counted by size
# Of a worker's row: single numbers by the names of Totals, failures by reason, and by size the batches and their time.
NUMBERS = ("batches", "calls", "images", "queue_ns", "compute_ns", "failure_ns", "last_ms")
TABLES = {"failures": len(REASONS), "sizes": LARGEST_SIZE, "size_ns": LARGEST_SIZE}
ROW = np.dtype([*((name, np.int64) for name in NUMBERS), *((name, np.int64, (n,)) for name, n in TABLES.items())])
BATCHES, CALLS, IMAGES, QUEUE_NS, COMPUTE_NS, FAIL_NS, LAST_MS = range(len(NUMBERS))
FAILURES = {reason: len(NUMBERS) + i for i, reason in enumerate(REASONS)}
SIZES = len(NUMBERS) + len(REASONS)
SIZE_NS = SIZES + LARGEST_SIZE
LARGEST = 2**63 - 1  # after which a sum restarts from 0: with 1,000 callers that always wait, after half a year


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of all workers."""

    batches: int  # how many batches the model ran on
    calls: int  # how many were answered
    images: int  # how many were in them
    queue_ns: int  # how long these calls waited for their batches, together
    compute_ns: int  # how long their batches took, together: a batch counts once for each of its calls
    failure_ns: int  # how long the calls that were not answered were in the server, together
    last_ms: int  # when the last batch ended, in milliseconds since 1970; 0 if there was none
    failures: dict[Reason, int]  # by reason, the number of calls that were not answered, if it is not 0
    batch_sizes: dict[int, tuple[int, int]]  # by images, up to LARGEST_SIZE: how many batches, and their time together


def create(workers: int) -> int:
    """Memory for so many workers, as a file descriptor that child processes inherit and the caller closes."""
    fd = os.memfd_create("digits-statistics", 0)
    os.ftruncate(fd, workers * ROW.itemsize)
    return fd


class Statistics:
    """One worker's view: it adds to its own row, from any of its threads, and reads the rows of all.

    Each row is written by one process only, so the processes need no lock. The row of a worker that died still counts;
    the worker that replaces it goes on with it.
    """

    def __init__(self, fd: int | None = None, worker: int = 0) -> None:
        """Maps the memory that `create` returned, or memory of its own; the descriptor may be closed after it."""
        size = ROW.itemsize if fd is None else os.fstat(fd).st_size
        if not 0 <= worker < size // ROW.itemsize:
            raise ValueError(f"there is no row for worker {worker}: the memory has {size // ROW.itemsize}")
        memory = mmap.mmap(-1 if fd is None else fd, size)
        self._rows = np.frombuffer(memory, ROW)
        row = memoryview(memory)[worker * ROW.itemsize : (worker + 1) * ROW.itemsize]
        self._row = row.cast("q")  # faster than numpy, one by one
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
                row[SIZES - 1 + images] += 1
                row[SIZE_NS - 1 + images] += compute_ns

    def record_failure(self, reason: Reason, seconds: float = 0.0) -> None:
        """A call was not answered, after so many seconds."""
        row = self._row
        with self._lock:
            row[FAILURES[reason]] += 1
            row[FAIL_NS] += int(seconds * 1e9)

    def totals(self) -> Totals:
        """As of now; a batch that is being recorded may be in one count and not yet in another."""
        sums = {name: self._rows[name].sum(axis=0).tolist() for name in (*NUMBERS, *TABLES)}
        by_size = enumerate(zip(sums.pop("sizes"), sums.pop("size_ns"), strict=True), 1)
        failures = {reason: count for reason, count in zip(REASONS, sums.pop("failures"), strict=True) if count}
        batch_sizes = {size: (count, ns) for size, (count, ns) in by_size if count}
        sums["last_ms"] = int(self._rows["last_ms"].max())
        return Totals(failures=failures, batch_sizes=batch_sizes, **sums)
