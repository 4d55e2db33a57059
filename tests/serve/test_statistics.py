"""The server's counters: of one process after another, and of several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.serve import statistics
from digits.serve.statistics import LARGEST_SIZE, REASONS, Statistics

WORKER = """
import sys
from digits.serve.statistics import Statistics

fd, worker, batches = map(int, sys.argv[1:])
mine = Statistics(fd, worker)
for _ in range(batches):
    mine.record_batch(2, 3 + worker, 0.5, 0.25)
mine.record_failure("deadline", 1.0)
print(mine.totals().batches, flush=True)
sys.stdin.read()
"""
seconds = st.integers(0, 99)
batches = st.lists(st.tuples(st.integers(1, 64), st.integers(1, 2 * LARGEST_SIZE), seconds, seconds), max_size=20)


@given(batches)
def test_the_totals_are_those_of_what_was_recorded(batches: list[tuple[int, int, int, int]]) -> None:
    """A call's time in the model is that of its whole batch; batches by size are those up to the largest size."""
    counted = Statistics()
    for calls, images, queue, compute in batches:
        counted.record_batch(calls, images, queue, compute)
    totals = counted.totals()
    assert totals.batches == len(batches)
    assert totals.calls == sum(calls for calls, *_ in batches)
    assert totals.images == sum(images for _, images, *_ in batches)
    assert totals.queue_ns == 10**9 * sum(queue for *_, queue, _ in batches)
    assert totals.compute_ns == 10**9 * sum(calls * compute for calls, *_, compute in batches)
    sizes = {images for _, images, *_ in batches if images <= LARGEST_SIZE}
    times = {size: [compute for _, images, _, compute in batches if images == size] for size in sizes}
    assert totals.batch_sizes == {size: (len(each), 10**9 * sum(each)) for size, each in times.items()}
    assert bool(totals.last_ms) == bool(batches)


def test_failures_are_counted_by_reason() -> None:
    counted = Statistics()
    for count, reason in enumerate(REASONS):
        for _ in range(count):
            counted.record_failure(reason, 0.5)
    totals = counted.totals()
    assert totals.failures == {reason: count for count, reason in enumerate(REASONS) if count}
    assert totals.failure_ns == sum(range(len(REASONS))) * 500_000_000
    assert (totals.batches, totals.calls) == (0, 0)


def test_worker_processes_count_in_shared_memory() -> None:
    """Each sees the totals; the row of a dead worker still counts, and the worker that replaces it goes on with it."""
    fd = statistics.create(workers=3)
    mine = Statistics(fd)
    for row in (-1, 3):
        with pytest.raises(ValueError, match=f"no row for worker {row}: the memory has 3"):
            Statistics(fd, row)

    def start(worker: int, batches: int) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", WORKER, *map(str, (fd, worker, batches))]
        return subprocess.Popen(arguments, pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start(1, 10) as one, start(2, 20) as two:
        for worker in (one, two):
            assert worker.stdout
            worker.stdout.readline()
        mine.record_batch(1, 1, 0, 0)
        both = mine.totals()  # while they live
        one.kill()
        two.kill()
    assert (both.batches, both.calls, both.images) == (31, 61, 1 + 10 * 4 + 20 * 5)
    assert both.failures == {"deadline": 2}
    assert both.batch_sizes == {1: (1, 0), 4: (10, 2_500_000_000), 5: (20, 5_000_000_000)}
    assert mine.totals() == both
    with start(1, 5) as again:
        printed, _ = again.communicate()
    os.close(fd)
    assert (printed, mine.totals().batches) == ("36\n", 36)


def test_threads_of_one_worker_lose_no_batch() -> None:
    counted = Statistics()

    def record() -> None:
        for _ in range(5000):
            counted.record_batch(1, 2, 0, 0)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.totals().images == 40_000
