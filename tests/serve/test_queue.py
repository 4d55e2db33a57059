"""The queue's laws: order within a level, the bound, no work for the dead, no job queued that cannot be in time."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.serve.errors import DeadlinePassed, Draining, QueueFull, TooLate
from digits.serve.queue import JobQueue
from digits.serve.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.serve.job import Job, WaitingJob
    from digits.tests.serve.conftest import Pixels

    MakeJob = Callable[..., WaitingJob]
    MakeJobs = Callable[..., list[WaitingJob]]

MAX_BATCH_SIZE = 16
sizes = st.lists(st.integers(1, MAX_BATCH_SIZE), min_size=1, max_size=40)


def queue_of(max_size: int, *jobs: WaitingJob, delay: float = 0.0, instances: int = 1) -> JobQueue:
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


@given(sizes=sizes)
def test_all_jobs_come_in_order_and_as_many_as_fit(test_digits: Pixels, sizes: list[int], jobs_of: MakeJobs) -> None:
    jobs = jobs_of(test_digits, sizes)
    taken = batches(queue_of(len(jobs), *jobs))
    assert [job for batch in taken for job in batch] == jobs
    for batch, following in pairwise(taken):
        size = sum(job.request.count for job in batch)
        assert size <= MAX_BATCH_SIZE < size + following[0].request.count


@given(priorities=st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_level_1_goes_first_and_each_level_keeps_its_order(
    test_digits: Pixels, priorities: list[int], job_of: MakeJob
) -> None:
    """A call without a level, or with one that does not exist, is of the default level, which is the second."""
    jobs = [job_of(test_digits[:1], priority=priority) for priority in priorities]
    taken = [job for batch in batches(queue_of(len(jobs), *jobs)) for job in batch]
    assert taken == sorted(jobs, key=lambda job: job.request.priority != 1)


def test_a_full_level_refuses_at_once_and_says_when_to_try_again(
    test_digits: Pixels, job_of: MakeJob, jobs_of: MakeJobs
) -> None:
    *jobs, third = jobs_of(test_digits, [1, 1, 1])
    queue = queue_of(2, *jobs)
    with pytest.raises(QueueFull, match="2 calls wait") as refusal:
        queue.put(third)
    ((name, value),) = refusal.value.trailing_metadata
    assert name == "retry-after-ms"
    assert int(value) >= 1
    queue.put(job_of(test_digits[:1], priority=1))  # the other level has room
    assert len(queue.take_ready()) == 3
    queue.put(third)


def test_cancelled_and_expired_jobs_make_room(test_digits: Pixels, jobs_of: MakeJobs) -> None:
    cancelled, expired, alive = jobs_of(test_digits, [8, 8, 8])
    queue = queue_of(2, cancelled, expired)
    cancelled.cancel()
    expired.deadline = 0.0
    queue.put(alive)
    assert cancelled.outcome.cancelled()
    assert isinstance(expired.outcome.exception(), DeadlinePassed)
    assert queue.take() == [alive]


def test_a_job_that_cannot_be_in_time_is_not_queued(test_digits: Pixels, job_of: MakeJob) -> None:
    """16 images wait, and the last batches took a second an image: 16 seconds, of which this caller has five."""
    queue = queue_of(9)
    queue.ran(4, 4.0)
    queue.put(job_of(test_digits[:16]))
    with pytest.raises(TooLate, match=r"the queue takes 16000.0 ms and the call has [45]\d{3}.\d ms left") as refusal:
        queue.put(job_of(test_digits[:1], deadline=time.monotonic() + 5))
    assert refusal.value.retry_after_ms == 16001
    urgent = job_of(test_digits[:1], priority=1, deadline=time.monotonic() + 5)  # lower levels do not count
    patient = job_of(test_digits[:1], deadline=time.monotonic() + 60)
    queue.put(urgent)
    queue.put(patient)
    assert batches(queue)[0][0] is urgent


@pytest.mark.parametrize(("instances", "refused"), [(1, True), (4, False)])
def test_jobs_of_higher_levels_count(test_digits: Pixels, job_of: MakeJob, instances: int, refused: bool) -> None:
    """16 images wait at the first level; four concurrent batches take a quarter of the time."""
    queue = queue_of(9, instances=instances)
    queue.ran(4, 4.0)
    queue.put(job_of(test_digits[:16], priority=1))
    late = job_of(test_digits[:1], deadline=time.monotonic() + 8)
    if refused:
        with pytest.raises(TooLate):
            queue.put(late)
    else:
        queue.put(late)


def test_the_speed_is_that_of_recent_batches(test_digits: Pixels, job_of: MakeJob) -> None:
    queue = queue_of(9)
    queue.ran(1, 1000.0)
    for _ in range(200):
        queue.ran(10, 0.1)
    queue.put(job_of(test_digits[:16]))
    queue.put(job_of(test_digits[:1], deadline=time.monotonic() + 5))


def test_a_closed_queue_refuses_new_jobs_and_hands_out_what_it_holds(test_digits: Pixels, jobs_of: MakeJobs) -> None:
    first, second = jobs_of(test_digits, [1, 1])
    queue = queue_of(2, first)
    queue.close()
    with pytest.raises(Draining):
        queue.put(second)
    assert queue.take() == [first]
    assert queue.take() is None


def test_a_batch_with_room_waits_until_its_delay_is_over_or_it_is_full(test_digits: Pixels, jobs_of: MakeJobs) -> None:
    """The delay counts from the oldest job; a full batch, and a closed queue, do not wait."""
    lone, *others = jobs_of(test_digits, [1] * MAX_BATCH_SIZE)
    queue = queue_of(99, lone, delay=3600)
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
    assert queue.take() == [lone]


def test_take_waits_until_the_delay_is_over(test_digits: Pixels, jobs_of: MakeJobs) -> None:
    (job,) = jobs_of(test_digits, [1])
    queue = queue_of(9, job, delay=0.05)
    assert queue.take() == [job]
    assert time.monotonic() - job.arrived >= 0.05


def test_a_waiting_thread_is_woken_by_a_job_and_by_the_end(test_digits: Pixels, jobs_of: MakeJobs) -> None:
    queue = queue_of(9)
    taken: list[list[Job] | None] = []
    thread = threading.Thread(target=lambda: taken.extend([queue.take(), queue.take()]))
    thread.start()
    (job,) = jobs_of(test_digits, [1])
    queue.put(job)
    queue.close()
    thread.join(30)
    assert taken == [[job], None]
