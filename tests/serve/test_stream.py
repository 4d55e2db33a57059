"""ClassifyStream and ModelStreamInfer: pipelined, flow-controlled, and not ended by a bad message."""

import itertools
import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc

Pixels = NDArray[np.uint8]
Stub = digits_pb2_grpc.DigitClassifierStub
Asked = tuple[str, Pixels]

MAX_STREAMS = 64
BOTH = pytest.mark.parametrize("method", ["ClassifyStream", "ModelStreamInfer"])
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own


def asking(request_id: str, pixels: Pixels, **more: Any) -> digits_pb2.ClassifyStreamRequest:
    request = digits_pb2.ClassifyRequest(pixels=pixels.tobytes(), include_probabilities=True, **more)
    return digits_pb2.ClassifyStreamRequest(request_id=request_id, request=request)


def inferring(request_id: str, pixels: Pixels, **more: Any) -> inference_pb2.ModelInferRequest:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [pixels.size // 784, 784]} | more
    request = inference_pb2.ModelInferRequest(model_name="digits", id=request_id, raw_input_contents=[pixels.tobytes()])
    request.inputs.add(**tensor)
    return request


def stream(channel: grpc.Channel, method: str, requests: Iterator[Asked]) -> Any:
    """A call of one of the two methods with these ids and images; its answers have an id, see `answered`."""
    if method == "ClassifyStream":
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        return stub.ClassifyStream((asking(*request) for request in requests), timeout=60, wait_for_ready=True)
    infer = inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
    return infer((inferring(*request) for request in requests), timeout=60, wait_for_ready=True)


def answered(answer: Any) -> str:
    """The id of a request that was answered, and not with an error."""
    if isinstance(answer, digits_pb2.ClassifyStreamResponse):
        assert answer.response.digits
        return answer.request_id
    assert answer.infer_response.raw_output_contents
    return str(answer.infer_response.id)


def test_1000_requests_on_a_stream_get_the_same_answers_as_unary_calls(stub: Stub, test_digits: Pixels) -> None:
    whole = stub.Classify(digits_pb2.ClassifyRequest(pixels=test_digits.tobytes(), include_probabilities=True))
    rows = np.array(whole.probabilities, np.float32).reshape(-1, 10)
    messages = (asking(str(i), image) for i, image in enumerate(test_digits))
    call = stub.ClassifyStream(messages, timeout=60)
    answers = {answer.request_id: answer.response for answer in call}
    assert (len(answers), call.code()) == (len(test_digits), grpc.StatusCode.OK)
    for i, row in enumerate(rows):
        assert np.array(answers[str(i)].probabilities, np.float32).tobytes() == row.tobytes()
    assert max(answer.batch_size for answer in answers.values()) > 1


def test_a_bad_request_gets_an_error_and_the_stream_goes_on(channel: grpc.Channel, test_digits: Pixels) -> None:
    """The status of a unary call, with the id; without one if the message cannot be read."""
    short = digits_pb2.ClassifyRequest(pixels=bytes(783))
    messages: list[Any] = [
        digits_pb2.ClassifyStreamRequest(request_id="short", request=short),
        digits_pb2.ClassifyStreamRequest(request_id="empty"),
        asking("late", test_digits[:1], timeout_microseconds=1),
        asking("good", test_digits[:1]),
    ]
    call: Any = channel.stream_stream("/digits.v1.DigitClassifier/ClassifyStream")
    raw = call(iter([b"\xff\xff", *(message.SerializeToString() for message in messages)]), timeout=60)
    answers = {answer.request_id: answer for answer in map(digits_pb2.ClassifyStreamResponse.FromString, raw)}
    assert answers.keys() == {"good", "short", "", "empty", "late"}
    assert len(answers["good"].response.digits) == 1
    assert answers["short"].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert answers["short"].error.message.startswith("pixels has 783 bytes; expected a positive multiple of 784")
    assert answers["empty"].error.message.startswith("pixels has 0 bytes")
    assert answers[""].error.message.startswith("the message is not a digits.v1.ClassifyStreamRequest")
    assert answers["late"].error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def test_model_stream_infer_answers_in_order_also_with_errors(channel: grpc.Channel, test_digits: Pixels) -> None:
    """As Triton does: one answer to each, also if the error is known long before the answers in front of it."""
    small, large = test_digits[:1], np.resize(test_digits, (1024, 28, 28))
    unary = inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
    requests = [inferring(f"{i}", large if i % 2 else small) for i in range(20)]
    requests[9] = inferring("9", small, shape=[2, 784])
    requests[11] = inferring("11", small, name="image")
    messages = [request.SerializeToString() for request in requests]
    messages[13] = b"\xff"
    call: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    answers = [inference_pb2.ModelStreamInferResponse.FromString(each) for each in call(iter(messages), timeout=60)]
    assert len(answers) == len(requests)
    for i, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        response = answer.infer_response
        assert response.parameters.pop("triton_final_response").bool_param
        if i in {9, 11, 13}:
            assert response == inference_pb2.ModelInferResponse(id="" if i == 13 else request.id)
        else:
            assert not answer.error_message
            assert response == unary(request, timeout=60)
    errors = [answers[i].error_message for i in (9, 11, 13)]
    assert errors[0].startswith("[request id: 9] input byte size mismatch")
    assert errors[1] == "[request id: 11] unexpected inference input 'image' for model 'digits'; expected 'pixels'"
    assert errors[2].startswith("the message is not an inference.ModelInferRequest: ")


@BOTH
def test_answers_come_while_the_stream_is_open(channel: grpc.Channel, test_digits: Pixels, method: str) -> None:
    """A caller may wait for one answer before it asks again."""
    messages: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
    answers = stream(channel, method, iter(messages.get, None))
    for turn in ("first", "second"):
        messages.put((turn, test_digits[:2]))
        assert answered(next(answers)) == turn
    messages.put(None)
    assert list(answers) == []


@BOTH
def test_a_caller_that_reads_no_answers_is_not_read_either(server: Any, test_digits: Pixels, method: str) -> None:
    """64 requests are read, and what the connection buffers; then this caller is held up, and others are not."""
    sent, more_than_it_reads = 0, 2000

    def messages() -> Iterator[Asked]:
        nonlocal sent
        for sent in range(1, more_than_it_reads + 1):
            yield str(sent), test_digits

    small = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024), *OWN]
    with grpc.insecure_channel(server.address, small) as channel, grpc.insecure_channel(server.address) as other:
        held = stream(channel, method, messages())
        next(held)
        for _ in range(20):  # time for it to read more, if it would
            request = digits_pb2.ClassifyRequest(pixels=test_digits.tobytes())
            assert digits_pb2_grpc.DigitClassifierStub(other).Classify(request, timeout=60).digits
        assert sent < more_than_it_reads
        held.cancel()


@BOTH
def test_a_stream_that_is_cancelled_leaves_the_others_alone(
    channel: grpc.Channel, test_digits: Pixels, method: str
) -> None:
    ended = threading.Event()

    def endless() -> Iterator[Asked]:
        yield "one", test_digits[:1]
        ended.wait(60)

    for given_up in [stream(channel, method, endless()) for _ in range(40)]:
        given_up.cancel()
    answers = stream(channel, method, iter([("kept", test_digits[:1])]))
    assert [answered(answer) for answer in answers] == ["kept"]
    ended.set()


def test_a_65th_stream_is_refused(channel: grpc.Channel, test_digits: Pixels) -> None:
    streams = []
    for _ in range(MAX_STREAMS):
        messages: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        messages.put(("one", test_digits[:1]))
        streams.append(stream(channel, "ClassifyStream", iter(messages.get, None)))
        assert answered(next(streams[-1])) == "one"
    with pytest.raises(grpc.RpcError) as error:
        next(stream(channel, "ClassifyStream", iter([("more", test_digits[:1])])))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.details() == "64 streams are open; close one, or try another server"
    for each in streams:
        each.cancel()


@BOTH
def test_a_stream_that_goes_on_sending_does_not_hold_up_a_drain(
    serving: Any, transport: str, test_digits: Pixels, method: str
) -> None:
    """What was read is answered; then the stream ends with UNAVAILABLE."""
    options = ("--transport", transport, "--lame-duck", 0, "--drain-timeout", 20)
    with serving(*options) as server, grpc.insecure_channel(server.address) as channel:
        answers = stream(channel, method, itertools.repeat(("again", test_digits[:1])))
        assert answered(next(answers)) == "again"
        server.process.terminate()
        with pytest.raises(grpc.RpcError) as error:
            list(answers)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(timeout=60) == 0
