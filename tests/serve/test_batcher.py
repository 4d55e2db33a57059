"""The batcher's laws: each caller gets its own rows, dead jobs change nothing, and every job is answered."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.model.engine import Engine
from digits.model.repository import open_repository
from digits.protos.digits.v1 import digits_pb2
from digits.serve import classify
from digits.serve.batcher import Batcher
from digits.serve.errors import CallError, DeadlinePassed, InvalidRequest
from digits.serve.queue import JobQueue
from digits.serve.settings import ServeSettings
from digits.serve.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.model.answer import Answer
    from digits.serve.job import WaitingJob
    from digits.tests.serve.conftest import Pixels

    MakeJobs = Callable[..., list[WaitingJob]]

MAX_BATCH_SIZE = 16
sizes = st.lists(st.integers(1, MAX_BATCH_SIZE), min_size=1, max_size=40)
fates = st.sampled_from(["alive", "alive", "alive", "cancelled", "expired"])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(open_repository(None).open().file("fp32"), provider="cpu")


def queue_with(jobs: list[WaitingJob]) -> JobQueue:
    queue = JobQueue(ServeSettings(max_batch_size=MAX_BATCH_SIZE, max_queue_size=max(1, len(jobs))))
    for job in jobs:
        queue.put(job)
    return queue


def run_all(queue: JobQueue, engine: Engine) -> list[int]:
    """Runs the batcher on what the queue holds, and gives the sizes of its batches."""
    batches: list[int] = []

    def run(pixels: Pixels) -> Answer:
        batches.append(len(pixels))
        return engine.answer(pixels)

    queue.close()
    Batcher(run, "7", Statistics(), 0.5).serve(queue)
    return batches


def response(job: WaitingJob) -> digits_pb2.ClassifyResponse:
    return digits_pb2.ClassifyResponse.FromString(job.outcome.result(timeout=60))


@given(sizes=sizes, data=st.data())
@settings(deadline=None)
def test_each_caller_gets_its_own_rows_and_dead_jobs_change_nothing(
    test_digits: Pixels, engine: Engine, sizes: list[int], data: st.DataObject, jobs_of: MakeJobs
) -> None:
    """A response is cut from the batch's bytes; protobuf serializes the same fields in the same size."""
    jobs = jobs_of(test_digits, sizes)
    queue = queue_with(jobs)
    doom = [data.draw(fates) for _ in jobs]
    for job, fate in zip(jobs, doom, strict=True):
        job.deadline = 0.0 if fate == "expired" else job.deadline
        job.cancelled = fate == "cancelled"
    batches = run_all(queue, engine)
    assert max(batches, default=0) <= MAX_BATCH_SIZE
    assert sum(batches) == sum(size for size, fate in zip(sizes, doom, strict=True) if fate == "alive")
    for job, fate in zip(jobs, doom, strict=True):
        assert job.outcome.done()
        if fate == "alive":
            pixels = np.frombuffer(job.request.pixels, np.uint8).reshape(-1, 28, 28)
            (expected, novelty), found = engine.answer(pixels), response(job)
            assert np.array(found.novelties, np.float32).tobytes() == (b"" if novelty is None else novelty.tobytes())
            assert found.novelty_threshold == 0.5
            assert list(found.digits) == expected.argmax(axis=1).tolist()
            assert np.array(found.confidences, np.float32).tobytes() == expected.max(axis=1).tobytes()
            assert np.array(found.probabilities, np.float32).tobytes() == expected.tobytes()
            assert (found.model_version, found.batch_size in batches) == ("7", True)
            assert len(found.SerializeToString()) == len(job.outcome.result())
        elif fate == "expired":
            assert isinstance(job.outcome.exception(), DeadlinePassed)
        else:
            assert job.outcome.cancelled()


def test_a_single_job_is_answered_at_once_and_counted(test_digits: Pixels, engine: Engine, jobs_of: MakeJobs) -> None:
    """While the queue is open and no other job comes."""
    (job,), statistics, queue = jobs_of(test_digits, [3]), Statistics(), queue_with([])
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
    test_digits: Pixels, engine: Engine, caplog: pytest.LogCaptureFixture, jobs_of: MakeJobs
) -> None:
    """The callers get a fixed text with an id; the log has the exception."""
    bad, good = jobs_of(test_digits, [1, MAX_BATCH_SIZE])
    bad.request.pixels = bad.request.pixels[:100]
    run_all(queue_with([bad, good]), engine)
    error = bad.outcome.exception()
    assert isinstance(error, CallError)
    assert error.code == "INTERNAL"
    assert str(error).split()[-1] in caplog.text
    assert "cannot reshape" in caplog.text
    assert "cannot reshape" not in str(error)
    assert len(response(good).digits) == MAX_BATCH_SIZE


def test_a_model_that_loses_rows_gives_nobody_a_wrong_answer(
    test_digits: Pixels, engine: Engine, jobs_of: MakeJobs
) -> None:
    jobs = jobs_of(test_digits, [2, 2])
    queue = queue_with(jobs)
    queue.close()
    Batcher(lambda pixels: engine.answer(pixels[:-1]), "7", Statistics()).serve(queue)
    assert [type(job.outcome.exception()) for job in jobs] == [CallError, CallError]


def test_an_answer_that_cannot_be_made_spoils_no_other(test_digits: Pixels, engine: Engine, jobs_of: MakeJobs) -> None:
    jobs = jobs_of(test_digits, [2, 1, 2])
    jobs[1].request.encode = lambda *_: bytes(-1)
    run_all(queue_with(jobs), engine)
    assert isinstance(jobs[1].outcome.exception(), CallError)
    for job in (jobs[0], jobs[2]):
        assert len(response(job).digits) == 2


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
        assert bytes(found.pixels) == expected
        assert found.count == len(expected) // 784


@pytest.mark.parametrize("length", [b"\x90\x86\x80\x80\x80", b"\x90\x86\x80\x80\x80\x80\x80\x80\x80\x80\x80", b"\x90"])
def test_a_length_that_protobuf_would_not_read_is_not_read(length: bytes) -> None:
    message = b"\x0a" + length + bytes(784)
    with pytest.raises(DecodeError):
        digits_pb2.ClassifyRequest.FromString(message)
    with pytest.raises(InvalidRequest):
        classify.parse(message, 20)
