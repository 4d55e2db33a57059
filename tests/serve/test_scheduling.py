"""Priorities, timeouts, admission and delay on the wire, at a server whose model is slowed down."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SLOW = 0.2  # seconds a batch
OCCUPIED = 8  # images: one call fills a batch


@pytest.fixture(scope="module")
def slow(serving: Callable[..., Any], models: Path, transport: str) -> Iterator[Any]:
    """A server whose batches hold 8 images and take 0.2 s."""
    options = ("--transport", transport, "--max-batch-size", OCCUPIED, "--slow-down-microseconds", int(SLOW * 1e6))
    with serving("--models", models, *options, "--no-warmup", "--priority-levels", 3) as server:
        yield server


@pytest.fixture
def stub(slow: Any) -> Iterator[digits_pb2_grpc.DigitClassifierStub]:
    """On a connection that is there already, so that calls arrive in their order."""
    with grpc.insecure_channel(slow.address) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield digits_pb2_grpc.DigitClassifierStub(channel)


def request(pixels: NDArray[np.uint8], **more: Any) -> digits_pb2.ClassifyRequest:
    return digits_pb2.ClassifyRequest(pixels=pixels.tobytes(), **more)


def arrived(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """A round trip on the same connection: what was sent before it has arrived after it."""
    stub.GetModel(digits_pb2.GetModelRequest(), timeout=30)


def finished(calls: dict[str, Any]) -> list[str]:
    """The names of calls, in the order in which they end."""
    order: list[str] = []
    done = threading.Event()

    def add(name: str) -> None:
        order.append(name)
        if len(order) == len(calls):
            done.set()

    for name, call in calls.items():
        call.add_done_callback(lambda _, name=name: add(name))
    assert done.wait(30)
    return order


def test_level_1_is_answered_first_and_the_last_level_is_the_default(
    stub: digits_pb2_grpc.DigitClassifierStub, test_digits: NDArray[np.uint8]
) -> None:
    full = test_digits[:OCCUPIED]
    calls = {"running": stub.Classify.future(request(full))}
    arrived(stub)
    for name, priority in (("none", 0), ("third", 3), ("unknown", 9), ("second", 2), ("first", 1)):
        calls[name] = stub.Classify.future(request(full, priority=priority))
    order = finished(calls)
    assert order[:3] == ["running", "first", "second"]
    assert set(order[3:]) == {"none", "third", "unknown"}


def test_a_timeout_ends_a_wait_and_nothing_is_computed_for_it(
    slow: Any, stub: digits_pb2_grpc.DigitClassifierStub, test_digits: NDArray[np.uint8]
) -> None:
    full = test_digits[:OCCUPIED]
    with grpc.insecure_channel(slow.address) as channel:
        oip = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        before = oip.ModelStatistics(inference_pb2.ModelStatisticsRequest(name="digits")).model_stats[0].execution_count
        running = stub.Classify.future(request(full))
        arrived(stub)
        waiting = stub.Classify.future(request(full))
        arrived(stub)
        late = stub.Classify.future(request(test_digits[:1], timeout_microseconds=int(SLOW / 2 * 1e6)))
        assert late.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert "nothing was computed" in str(late.details()) or "it was not queued" in str(late.details())
        assert running.code() is waiting.code() is grpc.StatusCode.OK
        after = oip.ModelStatistics(inference_pb2.ModelStatisticsRequest(name="digits")).model_stats[0].execution_count
        assert after - before == 2


def test_who_cannot_be_in_time_is_refused_at_once_and_told_when_to_come_again(
    stub: digits_pb2_grpc.DigitClassifierStub, test_digits: NDArray[np.uint8]
) -> None:
    """Ten calls of a full batch wait, two seconds of work; a call with half a second left is not kept until then."""
    full = test_digits[:OCCUPIED]
    waiting = [stub.Classify.future(request(full)) for _ in range(11)]
    arrived(stub)
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(request(full), timeout=5 * SLOW)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "it was not queued" in str(error.value.details())
    metadata: Any = error.value.trailing_metadata()
    assert int(dict(metadata)["retry-after-ms"]) > 1000 * SLOW
    assert {call.code() for call in waiting} == {grpc.StatusCode.OK}


def test_an_expired_and_a_cancelled_call_are_never_computed(
    slow: Any, stub: digits_pb2_grpc.DigitClassifierStub, test_digits: NDArray[np.uint8]
) -> None:
    full = test_digits[:OCCUPIED]
    with grpc.insecure_channel(slow.address) as channel:
        oip = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        before = oip.ModelStatistics(inference_pb2.ModelStatisticsRequest(name="digits")).model_stats[0].execution_count
        running = stub.Classify.future(request(full))
        arrived(stub)
        cancelled = stub.Classify.future(request(full))
        last = stub.Classify.future(request(full))
        arrived(stub)
        cancelled.cancel()
        assert running.code() is last.code() is grpc.StatusCode.OK
        after = oip.ModelStatistics(inference_pb2.ModelStatisticsRequest(name="digits")).model_stats[0].execution_count
        assert after - before == 2


def test_a_delay_makes_one_batch_of_calls_that_come_apart(
    serving: Callable[..., Any], models: Path, transport: str, test_digits: NDArray[np.uint8]
) -> None:
    """A lone call waits out the delay; a full batch does not."""
    options = ("--transport", transport, "--max-batch-size", 2, "--max-queue-delay-microseconds", 300_000)
    with serving("--models", models, *options) as server, grpc.insecure_channel(server.address) as channel:
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        lone = stub.Classify(request(test_digits[:1]))
        assert lone.batch_size == 1
        assert lone.queue_microseconds >= 299_000
        first, second = (stub.Classify.future(request(image)) for image in test_digits[:2])
        assert first.result().batch_size == second.result().batch_size == 2
        assert second.result().queue_microseconds < 290_000
