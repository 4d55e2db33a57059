"""The batcher's laws: nobody gets another's rows, order is kept, the bound holds, the dead change nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.model.engine import Engine
from digits.model.repository import Repository
from digits.serve.batcher import batch_forever, gather, split
from digits.serve.errors import CallError, DeadlinePassed, Draining, QueueFull
from digits.serve.job import Job
from digits.serve.queue import JobQueue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAX_BATCH_SIZE = 16
sizes = st.lists(st.integers(1, MAX_BATCH_SIZE), min_size=1, max_size=40)
fates = st.sampled_from(["alive", "alive", "alive", "cancelled", "expired"])


@pytest.fixture(scope="session")
def engine(models: Path) -> Engine:
    return Engine(Repository(models).open().file("fp32"), provider="cpu")


def jobs_of(pixels: NDArray[np.uint8], sizes: Sequence[int]) -> list[Job]:
    """Jobs of the given sizes, whose images are taken from `pixels` in turn."""
    picked = np.resize(pixels, (sum(sizes), 28, 28))
    return [Job(part) for part in np.split(picked, np.cumsum(sizes)[:-1])]


def run_all(queue: JobQueue, engine: Engine) -> list[int]:
    """Runs the batcher on what the queue holds, and gives the sizes of its batches."""
    batches: list[int] = []

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append(len(pixels))
        return engine.run(pixels)

    queue.close()
    batch_forever(queue, run, MAX_BATCH_SIZE)
    return batches


@given(sizes=sizes)
def test_split_is_the_inverse_of_gather(test_digits: NDArray[np.uint8], sizes: list[int]) -> None:
    jobs = jobs_of(test_digits, sizes)
    pixels = gather(jobs)
    assert pixels.shape == (sum(sizes), 28, 28)
    ids = np.arange(len(pixels), dtype=np.float32)
    parts = list(split(jobs, ids[:, None]))
    assert [job for job, _ in parts] == jobs
    assert np.array_equal(np.concatenate([rows for _, rows in parts])[:, 0], ids)
    for job, rows in parts:
        assert np.array_equal(job.pixels, pixels[rows[:, 0].astype(int)])


@given(sizes=sizes, data=st.data())
@settings(deadline=None)
def test_each_caller_gets_its_own_rows_and_the_dead_change_nothing(
    test_digits: NDArray[np.uint8], engine: Engine, sizes: list[int], data: st.DataObject
) -> None:
    jobs = jobs_of(test_digits, sizes)
    queue = JobQueue(len(jobs))
    doom = [data.draw(fates) for _ in jobs]
    for job, fate in zip(jobs, doom, strict=True):
        job.deadline = 0.0 if fate == "expired" else job.deadline
        job.cancelled = fate == "cancelled"
        queue.put(job)
    batches = run_all(queue, engine)
    assert max(batches, default=0) <= MAX_BATCH_SIZE
    assert sum(batches) == sum(size for size, fate in zip(sizes, doom, strict=True) if fate == "alive")
    for job, fate in zip(jobs, doom, strict=True):
        assert job.answer.done()
        if fate == "alive":
            assert job.answer.result().probabilities.tobytes() == engine.run(job.pixels).tobytes()
        elif fate == "expired":
            assert isinstance(job.answer.exception(), DeadlinePassed)
        else:
            assert job.answer.cancelled()


@given(sizes=sizes)
def test_the_queue_hands_out_all_in_order_and_as_much_as_fits(test_digits: NDArray[np.uint8], sizes: list[int]) -> None:
    jobs = jobs_of(test_digits, sizes)
    queue = JobQueue(len(jobs))
    for job in jobs:
        queue.put(job)
    queue.close()
    taken = []
    while (batch := queue.take(MAX_BATCH_SIZE)) is not None:
        taken.append(batch)
    assert [job for batch in taken for job in batch] == jobs
    for batch, following in pairwise(taken):
        size = sum(len(job.pixels) for job in batch)
        assert size <= MAX_BATCH_SIZE < size + len(following[0].pixels)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(test_digits: NDArray[np.uint8]) -> None:
    queue = JobQueue(2)
    first, second, third = jobs_of(test_digits, [1, 1, 1])
    queue.put(first)
    queue.put(second)
    with pytest.raises(QueueFull, match="2 calls wait") as refusal:
        queue.put(third)
    ((name, value),) = refusal.value.trailing_metadata
    assert name == "retry-after-ms"
    assert int(value) >= 1
    assert queue.take(1) == [first]
    queue.put(third)


def test_the_dead_take_nobodys_place(test_digits: NDArray[np.uint8]) -> None:
    queue = JobQueue(2)
    cancelled, expired, alive = jobs_of(test_digits, [8, 8, 8])
    queue.put(cancelled)
    queue.put(expired)
    cancelled.cancel()
    expired.deadline = 0.0
    queue.put(alive)
    assert cancelled.answer.cancelled()
    assert isinstance(expired.answer.exception(), DeadlinePassed)
    assert queue.take(8) == [alive]


def test_a_closed_queue_refuses_newcomers_and_hands_out_what_it_holds(test_digits: NDArray[np.uint8]) -> None:
    queue = JobQueue(2)
    first, second = jobs_of(test_digits, [1, 1])
    queue.put(first)
    queue.close()
    with pytest.raises(Draining):
        queue.put(second)
    assert queue.take(8) == [first]
    assert queue.take(8) is None


def test_the_batcher_waits_for_nobody(test_digits: NDArray[np.uint8], engine: Engine) -> None:
    """A lone job is answered while the queue is open and nobody else comes."""
    queue = JobQueue(1)
    thread = threading.Thread(target=batch_forever, args=(queue, engine.run, MAX_BATCH_SIZE))
    thread.start()
    (job,) = jobs_of(test_digits, [1])
    queue.put(job)
    answer = job.answer.result(timeout=60)
    queue.close()
    thread.join()
    assert answer.batch_size == 1
    assert 0 <= answer.queue_seconds <= time.monotonic() - job.arrived


def test_a_failing_model_answers_its_batch_and_the_next_one_runs(
    test_digits: NDArray[np.uint8], engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The callers get a fixed text with an id; the log has the exception."""
    queue = JobQueue(2)
    bad = Job(test_digits[:1, :14])  # ONNX Runtime refuses 14 rows
    (good,) = jobs_of(test_digits, [MAX_BATCH_SIZE])
    queue.put(bad)
    queue.put(good)
    run_all(queue, engine)
    error = bad.answer.exception()
    assert isinstance(error, CallError)
    assert error.code == "INTERNAL"
    incident = str(error).split()[-1]
    assert incident in caplog.text
    assert "INVALID_ARGUMENT" in caplog.text
    assert "INVALID_ARGUMENT" not in str(error)
    assert len(good.answer.result().probabilities) == MAX_BATCH_SIZE


def test_a_model_that_loses_rows_gives_nobody_a_wrong_answer(test_digits: NDArray[np.uint8], engine: Engine) -> None:
    queue = JobQueue(2)
    jobs = jobs_of(test_digits, [2, 2])
    for job in jobs:
        queue.put(job)
    queue.close()
    batch_forever(queue, lambda pixels: engine.run(pixels)[:-1], MAX_BATCH_SIZE)
    assert [type(job.answer.exception()) for job in jobs] == [CallError, CallError]


def test_a_caller_that_leaves_ends_its_wait(test_digits: NDArray[np.uint8], engine: Engine) -> None:
    queue = JobQueue(1)
    (job,) = jobs_of(test_digits, [1])
    job.cancel()
    queue.put(job)
    assert run_all(queue, engine) == []
    with pytest.raises(CancelledError):
        job.answer.result()
