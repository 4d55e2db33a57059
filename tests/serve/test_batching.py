"""Queue, batcher, counters: order, bound, each caller gets its own rows, every job is answered and counted once."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from digits.model.answer import Answer
from digits.model.engine import Engine
from digits.model.repository import open_repository
from digits.protos.digits.v1 import digits_pb2
from digits.serve import classify, statistics
from digits.serve.batcher import Batcher
from digits.serve.errors import CallError, DeadlinePassed, Draining, InvalidRequest, QueueFull, TooLate
from digits.serve.job import FOREVER, Job, Request, WaitingJob
from digits.serve.queue import JobQueue
from digits.serve.settings import ServeSettings
from digits.serve.statistics import LARGEST_SIZE, REASONS, Statistics

Pixels = NDArray[np.uint8]

MAX_BATCH_SIZE = 16
BLANK = np.zeros((MAX_BATCH_SIZE, 28, 28), np.uint8)
sizes = st.lists(st.integers(1, MAX_BATCH_SIZE), min_size=1, max_size=40)
fates = st.sampled_from(["alive", "alive", "alive", "cancelled", "expired"])


def job_of(pixels: Pixels = BLANK[:1], *, priority: int = 0, deadline: float = FOREVER) -> WaitingJob:
    """A job without a call: it asks for probabilities."""
    request = Request(pixels.tobytes(), len(pixels), classify.encode_with_probabilities, priority)
    return WaitingJob(request, deadline)


def jobs_of(sizes: Sequence[int], pixels: Pixels = BLANK) -> list[WaitingJob]:
    """Jobs of the given sizes, whose images are taken from an array in turn."""
    picked = np.resize(pixels, (sum(sizes), 28, 28))
    return [job_of(part) for part in np.split(picked, np.cumsum(sizes)[:-1])]


def queue_of(*jobs: WaitingJob, max_size: int = 99, delay: float = 0.0, instances: int = 1) -> JobQueue:
    """A queue that holds jobs, with two levels of priority, the second of them the default; `delay` in seconds."""
    queue = JobQueue(
        ServeSettings(
            max_batch_size=MAX_BATCH_SIZE,
            max_queue_size=max_size,
            max_queue_delay_microseconds=round(delay * 1e6),
            instances=instances,
        )
    )
    for job in jobs:
        queue.put(job)
    return queue


def batches(queue: JobQueue) -> list[list[Job]]:
    """All that a queue holds, as it hands it out."""
    queue.close()
    return list(iter(queue.take, None))


# The queue


@given(sizes=sizes)
def test_all_jobs_come_in_order_and_as_many_as_fit(sizes: list[int]) -> None:
    jobs = jobs_of(sizes)
    taken = batches(queue_of(*jobs))
    assert [job for batch in taken for job in batch] == jobs
    for batch, following in pairwise(taken):
        size = sum(job.request.count for job in batch)
        assert size <= MAX_BATCH_SIZE < size + following[0].request.count


@given(priorities=st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_level_1_goes_first_and_each_level_keeps_its_order(priorities: list[int]) -> None:
    """A call without a level, or with one that does not exist, is of the default level, which is the second."""
    jobs = [job_of(priority=priority) for priority in priorities]
    taken = [job for batch in batches(queue_of(*jobs)) for job in batch]
    assert taken == sorted(jobs, key=lambda job: job.request.priority != 1)


def test_a_full_level_refuses_at_once_and_says_when_to_try_again() -> None:
    *jobs, third = jobs_of([1, 1, 1])
    queue = queue_of(*jobs, max_size=2)
    with pytest.raises(QueueFull, match="2 calls wait") as refusal:
        queue.put(third)
    ((name, value),) = refusal.value.trailing_metadata
    assert name == "retry-after-ms"
    assert int(value) >= 1
    queue.put(job_of(priority=1))  # the other level has room
    assert len(queue.take_ready()) == 3
    queue.put(third)


def test_cancelled_and_expired_jobs_make_room() -> None:
    cancelled, expired, alive = jobs_of([8, 8, 8])
    queue = queue_of(cancelled, expired, max_size=2)
    cancelled.cancel()
    expired.deadline = 0.0
    queue.put(alive)
    assert cancelled.outcome.cancelled()
    assert isinstance(expired.outcome.exception(), DeadlinePassed)
    assert queue.take() == [alive]


def test_a_job_that_cannot_be_in_time_is_not_queued() -> None:
    """16 images wait, and the last batches took a second an image: 16 seconds, of which this caller has five."""
    queue = queue_of()
    queue.ran(4, 4.0)
    queue.put(job_of(BLANK))
    with pytest.raises(TooLate, match=r"the queue takes 16000.0 ms and the call has [45]\d{3}.\d ms left") as refusal:
        queue.put(job_of(deadline=time.monotonic() + 5))
    assert refusal.value.retry_after_ms == 16001
    urgent = job_of(priority=1, deadline=time.monotonic() + 5)  # lower levels do not count
    queue.put(urgent)
    queue.put(job_of(deadline=time.monotonic() + 60))
    for _ in range(200):
        queue.ran(10, 0.1)  # the speed is that of recent batches
    queue.put(job_of(deadline=time.monotonic() + 5))
    assert batches(queue)[0][0] is urgent


def test_jobs_of_higher_levels_count() -> None:
    """16 images wait at the first level; four concurrent batches take a quarter of the time."""
    one, four = queue_of(job_of(BLANK, priority=1)), queue_of(job_of(BLANK, priority=1), instances=4)
    for queue in (one, four):
        queue.ran(4, 4.0)
    four.put(job_of(deadline=time.monotonic() + 8))
    with pytest.raises(TooLate):
        one.put(job_of(deadline=time.monotonic() + 8))


def test_a_batch_with_room_waits_until_its_delay_is_over_or_it_is_full() -> None:
    """The delay counts from the oldest job; a full batch, and a closed queue, do not wait. That one takes no more."""
    lone, *others = jobs_of([1] * MAX_BATCH_SIZE)
    queue = queue_of(lone, delay=3600)
    assert queue.take_ready() == []
    assert 3500 < (queue.ready_in() or 0) <= 3600
    lone.arrived -= 3600
    assert queue.take_ready() == [lone]
    for job in [lone, *others]:
        queue.put(job)
    lone.arrived += 3600
    assert len(queue.take_ready()) == MAX_BATCH_SIZE
    queue.put(lone)
    queue.close()
    with pytest.raises(Draining):
        queue.put(others[0])
    assert queue.take() == [lone]
    assert queue.take() is None


# The batcher


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(open_repository(None).open().file("fp32"), provider="cpu")


def run_all(jobs: list[WaitingJob], answer: Callable[[Pixels], Answer]) -> list[int]:
    """Runs the batcher on these jobs, and gives the sizes of its batches."""
    sizes: list[int] = []

    def run(pixels: Pixels) -> Answer:
        sizes.append(len(pixels))
        return answer(pixels)

    queue = queue_of(*jobs)
    queue.close()
    Batcher(run, "7", Statistics(), 0.5).serve(queue)
    return sizes


def response(job: WaitingJob) -> digits_pb2.ClassifyResponse:
    return digits_pb2.ClassifyResponse.FromString(job.outcome.result(timeout=60))


def floats(values: Any) -> bytes:
    return np.array(values, np.float32).tobytes()


@given(sizes=sizes, data=st.data())
@settings(deadline=None)
def test_each_caller_gets_its_own_rows_and_dead_jobs_change_nothing(
    test_digits: Pixels, engine: Engine, sizes: list[int], data: st.DataObject
) -> None:
    """A response is cut from the batch's bytes; protobuf serializes the same fields in the same size."""
    jobs = jobs_of(sizes, test_digits)
    doom = [data.draw(fates) for _ in jobs]
    for job, fate in zip(jobs, doom, strict=True):
        job.deadline = 0.0 if fate == "expired" else job.deadline
        job.cancelled = fate == "cancelled"
    ran = run_all(jobs, engine.answer)
    assert max(ran, default=0) <= MAX_BATCH_SIZE
    assert sum(ran) == sum(size for size, fate in zip(sizes, doom, strict=True) if fate == "alive")
    for job, fate in zip(jobs, doom, strict=True):
        assert job.outcome.done()
        if fate == "alive":
            pixels = np.frombuffer(job.request.pixels, np.uint8).reshape(-1, 28, 28)
            (expected, novelty), found = engine.answer(pixels), response(job)
            assert list(found.digits) == expected.argmax(axis=1).tolist()
            assert floats(found.confidences) == expected.max(axis=1).tobytes()
            assert floats(found.probabilities) == expected.tobytes()
            assert floats(found.novelties) == (b"" if novelty is None else novelty.tobytes())
            assert (found.model_version, found.batch_size in ran, found.novelty_threshold) == ("7", True, 0.5)
            assert len(found.SerializeToString()) == len(job.outcome.result())
        elif fate == "expired":
            assert isinstance(job.outcome.exception(), DeadlinePassed)
        else:
            assert job.outcome.cancelled()


def test_a_single_job_is_answered_at_once_and_counted(test_digits: Pixels, engine: Engine) -> None:
    """While the queue is open and no other job comes."""
    job, statistics, queue = job_of(test_digits[:3]), Statistics(), queue_of()
    thread = threading.Thread(target=Batcher(engine.answer, "7", statistics).serve, args=(queue,))
    thread.start()
    queue.put(job)
    answer = response(job)
    queue.close()
    thread.join()
    assert answer.batch_size == 3
    totals = statistics.totals()
    assert (totals.batches, totals.calls, totals.images) == (1, 1, 3)
    assert totals.compute_ns > 0


def test_a_failing_model_answers_its_batch_and_the_next_one_runs(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The callers get a fixed text with an id; the log has the exception."""
    bad, good = jobs_of([1, MAX_BATCH_SIZE])
    bad.request.pixels = bad.request.pixels[:100]
    run_all([bad, good], engine.answer)
    error = bad.outcome.exception()
    assert isinstance(error, CallError)
    assert error.code == "INTERNAL"
    assert str(error).split()[-1] in caplog.text
    assert "cannot reshape" in caplog.text
    assert "cannot reshape" not in str(error)
    assert len(response(good).digits) == MAX_BATCH_SIZE


def test_a_model_that_loses_rows_gives_nobody_a_wrong_answer(engine: Engine) -> None:
    jobs = jobs_of([2, 2])
    run_all(jobs, lambda pixels: engine.answer(pixels[:-1]))
    assert [type(job.outcome.exception()) for job in jobs] == [CallError, CallError]


def test_an_answer_that_cannot_be_made_spoils_no_other(engine: Engine) -> None:
    jobs = jobs_of([2, 1, 2])
    jobs[1].request.encode = lambda *_: bytes(-1)
    run_all(jobs, engine.answer)
    assert isinstance(jobs[1].outcome.exception(), CallError)
    assert [len(response(job).digits) for job in (jobs[0], jobs[2])] == [2, 2]


# The bytes of a call


@given(count=st.integers(0, 20), cut=st.integers(0, 3), more=st.booleans())
def test_pixels_are_parsed_as_protobuf_parses_them(count: int, cut: int, *, more: bool) -> None:
    """Whether the message has another field or not, which takes another way, and whatever is cut off or wrong."""
    pixels = bytes(range(256)) * (784 * count // 256 + 1)
    whole = digits_pb2.ClassifyRequest(pixels=pixels[: 784 * count], priority=int(more)).SerializeToString()
    message = whole[: len(whole) - cut]
    try:
        expected = digits_pb2.ClassifyRequest.FromString(message).pixels
    except DecodeError:
        expected = b""
    if not expected or len(expected) % 784:
        with pytest.raises(InvalidRequest):
            classify.parse(message, 20)
    else:
        found = classify.parse(message, 20)
        assert (bytes(found.pixels), found.count) == (expected, len(expected) // 784)


@pytest.mark.parametrize("length", [b"\x90\x86\x80\x80\x80", b"\x90\x86\x80\x80\x80\x80\x80\x80\x80\x80\x80", b"\x90"])
def test_a_length_that_protobuf_would_not_read_is_not_read(length: bytes) -> None:
    with pytest.raises(InvalidRequest):
        classify.parse(b"\x0a" + length + bytes(784), 20)


# The counters: of one process after another, and of several at once


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
recorded = st.lists(st.tuples(st.integers(1, 64), st.integers(1, 2 * LARGEST_SIZE), seconds, seconds), max_size=20)


@given(recorded)
def test_the_totals_are_those_of_what_was_recorded(recorded: list[tuple[int, int, int, int]]) -> None:
    """A call's time in the model is that of its whole batch; batches by size are those up to the largest size."""
    counted = Statistics()
    for calls, images, queue, compute in recorded:
        counted.record_batch(calls, images, queue, compute)
    totals = counted.totals()
    assert totals.batches == len(recorded)
    assert totals.calls == sum(calls for calls, *_ in recorded)
    assert totals.images == sum(images for _, images, *_ in recorded)
    assert totals.queue_ns == 10**9 * sum(queue for *_, queue, _ in recorded)
    assert totals.compute_ns == 10**9 * sum(calls * compute for calls, *_, compute in recorded)
    sizes = {images for _, images, *_ in recorded if images <= LARGEST_SIZE}
    times = {size: [compute for _, images, _, compute in recorded if images == size] for size in sizes}
    assert totals.batch_sizes == {size: (len(each), 10**9 * sum(each)) for size, each in times.items()}
    assert bool(totals.last_ms) == bool(recorded)


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
