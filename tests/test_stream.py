"""ClassifyStream: pipelined, matched by id, flow-controlled, and not ended by a bad message."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MAX_STREAMS = 64
STREAM = "/digits.v1.DigitClassifier/ClassifyStream"


@pytest.fixture
def channel(server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def asking(request_id: str, pixels: NDArray[np.uint8], **more: Any) -> digits_pb2.ClassifyStreamRequest:
    request = digits_pb2.ClassifyRequest(pixels=pixels.tobytes(), include_probabilities=True, **more)
    return digits_pb2.ClassifyStreamRequest(request_id=request_id, request=request)


def test_1000_requests_on_a_stream_get_the_answers_of_calls_of_their_own(
    channel: grpc.Channel, test_digits: NDArray[np.uint8]
) -> None:
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    whole = stub.Classify(digits_pb2.ClassifyRequest(pixels=test_digits.tobytes(), include_probabilities=True))
    rows = np.array(whole.probabilities, np.float32).reshape(-1, 10)
    messages = (asking(str(i), image) for i, image in enumerate(test_digits))
    answers = {answer.request_id: answer.response for answer in stub.ClassifyStream(messages, timeout=60)}
    assert len(answers) == len(test_digits)
    for i, row in enumerate(rows):
        assert np.array(answers[str(i)].probabilities, np.float32).tobytes() == row.tobytes()
    assert max(answer.batch_size for answer in answers.values()) > 1


def test_what_a_call_gets_as_a_status_a_request_gets_as_an_error_and_the_stream_goes_on(
    channel: grpc.Channel, test_digits: NDArray[np.uint8]
) -> None:
    """Bytes that are no message come back without an id; the others with theirs."""
    good = asking("good", test_digits[:1]).SerializeToString()
    short = digits_pb2.ClassifyStreamRequest(
        request_id="short", request=digits_pb2.ClassifyRequest(pixels=bytes(783))
    ).SerializeToString()
    empty = digits_pb2.ClassifyStreamRequest(request_id="empty").SerializeToString()
    late = asking("late", test_digits[:1], timeout_microseconds=1).SerializeToString()
    call: Any = channel.stream_stream(STREAM)
    raw = list(call(iter([short, b"\xff\xff", empty, late, good]), timeout=60))
    answers = {answer.request_id: answer for answer in map(digits_pb2.ClassifyStreamResponse.FromString, raw)}
    assert answers.keys() == {"good", "short", "", "empty", "late"}
    assert len(answers["good"].response.digits) == 1
    assert answers["short"].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert answers["short"].error.message.startswith("pixels has 783 bytes; expected a positive multiple of 784")
    assert answers["empty"].error.message.startswith("pixels has 0 bytes")
    assert answers[""].error.message.startswith("the message is not a digits.v1.ClassifyStreamRequest")
    assert answers["late"].error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def test_answers_come_while_the_stream_is_open(channel: grpc.Channel, test_digits: NDArray[np.uint8]) -> None:
    """A caller may wait for one answer before it asks again."""
    messages: queue.SimpleQueue[digits_pb2.ClassifyStreamRequest | None] = queue.SimpleQueue()
    answers = digits_pb2_grpc.DigitClassifierStub(channel).ClassifyStream(iter(messages.get, None), timeout=60)
    for turn in ("first", "second"):
        messages.put(asking(turn, test_digits[:2]))
        assert next(answers).request_id == turn
    messages.put(None)
    assert list(answers) == []


def test_a_caller_that_reads_no_answers_is_read_no_further(server: Any, test_digits: NDArray[np.uint8]) -> None:
    """64 requests are taken from it, and what its connection holds; then it is held up, and its other calls are not."""
    sent = 0
    more_than_it_takes = 2000

    def messages() -> Iterator[digits_pb2.ClassifyStreamRequest]:
        nonlocal sent
        for sent in range(1, more_than_it_takes + 1):
            yield asking(str(sent), test_digits)

    small = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(server.address, small) as channel, grpc.insecure_channel(server.address) as other:
        stream = digits_pb2_grpc.DigitClassifierStub(channel).ClassifyStream(messages(), timeout=60)
        next(stream)
        for _ in range(20):  # time for it to take more, if it would
            request = digits_pb2.ClassifyRequest(pixels=test_digits.tobytes())
            assert digits_pb2_grpc.DigitClassifierStub(other).Classify(request, timeout=60).digits
        assert sent < more_than_it_takes
        stream.cancel()


def test_a_stream_that_is_cancelled_leaves_the_others_alone(
    channel: grpc.Channel, test_digits: NDArray[np.uint8]
) -> None:
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    forever = threading.Event()

    def endless() -> Iterator[digits_pb2.ClassifyStreamRequest]:
        yield asking("one", test_digits[:1])
        forever.wait(60)

    given_up = [stub.ClassifyStream(endless(), timeout=60) for _ in range(40)]
    for stream in given_up:
        stream.cancel()
    answers = stub.ClassifyStream(iter([asking("kept", test_digits[:1])]), timeout=60, wait_for_ready=True)
    assert [answer.request_id for answer in answers] == ["kept"]
    forever.set()


def test_more_streams_than_there_may_be_are_refused(channel: grpc.Channel, test_digits: NDArray[np.uint8]) -> None:
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    streams = []
    for _ in range(MAX_STREAMS):
        messages: queue.SimpleQueue[digits_pb2.ClassifyStreamRequest] = queue.SimpleQueue()
        messages.put(asking("one", test_digits[:1]))
        streams.append(stub.ClassifyStream(iter(messages.get, None), timeout=60))
        assert next(streams[-1]).request_id == "one"
    with pytest.raises(grpc.RpcError) as error:
        next(stub.ClassifyStream(iter([asking("more", test_digits[:1])]), timeout=60))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.details() == "64 streams are open; close one, or try another server"
    for stream in streams:
        stream.cancel()


def test_a_drain_answers_what_was_read_and_ends_the_stream_with_unavailable(
    serving: Callable[..., Any], models: Path, transport: str, test_digits: NDArray[np.uint8]
) -> None:
    messages: queue.SimpleQueue[digits_pb2.ClassifyStreamRequest | None] = queue.SimpleQueue()
    with (
        serving("--models", models, "--transport", transport, "--lame-duck", 0) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        answers = digits_pb2_grpc.DigitClassifierStub(channel).ClassifyStream(iter(messages.get, None), timeout=60)
        messages.put(asking("one", test_digits))
        assert next(answers).request_id == "one"
        server.process.terminate()
        with pytest.raises(grpc.RpcError) as error:
            list(answers)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert error.value.details() == "the server is draining; try another one"
        assert server.process.wait(timeout=30) == 0
        messages.put(None)
