"""Priorities, timeouts, admission and delay on the wire, at a server whose model is slowed down."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc

Stub = digits_pb2_grpc.DigitClassifierStub

SLOW = 0.2  # seconds a batch
OCCUPIED = 8  # images: one call fills a batch
Status = grpc.StatusCode


@pytest.fixture(scope="module")
def slow(serving: Any, transport: str) -> Iterator[Any]:
    """A server whose batches hold 8 images and take 0.2 s."""
    options = ("--transport", transport, "--max-batch-size", OCCUPIED, "--slow-down-microseconds", int(SLOW * 1e6))
    with serving(*options, "--no-warmup", "--priority-levels", 3) as server:
        yield server


@pytest.fixture
def stub(slow: Any) -> Iterator[Stub]:
    """On a connection that is open already, so that calls arrive in their order."""
    with grpc.insecure_channel(slow.address) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield digits_pb2_grpc.DigitClassifierStub(channel)


def request(images: int, **more: Any) -> digits_pb2.ClassifyRequest:
    return digits_pb2.ClassifyRequest(pixels=bytes(784 * images), **more)


FULL = request(OCCUPIED)


def start(stub: Stub, *messages: digits_pb2.ClassifyRequest) -> list[Any]:
    """Calls that have arrived when this returns: a round trip on the same connection comes after them."""
    calls = [stub.Classify.future(message) for message in messages]
    stub.GetModel(digits_pb2.GetModelRequest(), timeout=30)
    return calls


@contextmanager
def running_batches(address: str, count: int) -> Iterator[None]:
    """Checks how many batches the model runs on meanwhile."""
    with grpc.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)

        def executed() -> int:
            found = stub.ModelStatistics(inference_pb2.ModelStatisticsRequest(name="digits"))
            return found.model_stats[0].execution_count

        before = executed()
        yield
        assert executed() - before == count


def test_level_1_is_answered_first_and_the_last_level_is_the_default(stub: Stub) -> None:
    order: SimpleQueue[str] = SimpleQueue()
    calls = {"running": start(stub, FULL)[0]}
    for name, priority in (("none", 0), ("third", 3), ("unknown", 9), ("second", 2), ("first", 1)):
        calls[name] = stub.Classify.future(request(OCCUPIED, priority=priority))
    for name, call in calls.items():
        call.add_done_callback(lambda _, name=name: order.put(name))
    ended = [order.get(timeout=30) for _ in calls]
    assert ended[:3] == ["running", "first", "second"]
    assert set(ended[3:]) == {"none", "third", "unknown"}


def test_nothing_is_computed_for_a_call_that_is_cancelled_or_whose_timeout_is_over(slow: Any, stub: Stub) -> None:
    with running_batches(slow.address, 2):
        (running,), (cancelled, waiting) = start(stub, FULL), start(stub, FULL, FULL)
        late = stub.Classify.future(request(1, timeout_microseconds=int(SLOW / 2 * 1e6)))
        cancelled.cancel()
        assert late.code() in {Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED}
        assert "nothing was computed" in str(late.details()) or "it was not queued" in str(late.details())
        assert running.code() is waiting.code() is Status.OK


def test_a_call_that_cannot_be_in_time_is_refused_at_once_and_told_when_to_try_again(stub: Stub) -> None:
    """Ten calls of a full batch wait, two seconds of work; a call with one second left is not kept until then."""
    waiting = start(stub, *[FULL] * 11)
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(FULL, timeout=5 * SLOW)
    assert error.value.code() is Status.RESOURCE_EXHAUSTED
    assert "it was not queued" in str(error.value.details())
    metadata: Any = error.value.trailing_metadata()
    assert int(dict(metadata)["retry-after-ms"]) > 1000 * SLOW
    assert {call.code() for call in waiting} == {Status.OK}


def test_a_delay_makes_one_batch_of_calls_that_arrive_apart(serving: Any, transport: str) -> None:
    """A single call waits until the delay is over; a full batch does not."""
    options = ("--transport", transport, "--max-batch-size", 2, "--max-queue-delay-microseconds", 300_000)
    with serving(*options) as server, grpc.insecure_channel(server.address) as channel:
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        lone = stub.Classify(request(1))
        assert lone.batch_size == 1
        assert lone.queue_microseconds >= 299_000
        first, second = (stub.Classify.future(request(1)) for _ in range(2))
        assert first.result().batch_size == second.result().batch_size == 2
        assert second.result().queue_microseconds < 290_000
