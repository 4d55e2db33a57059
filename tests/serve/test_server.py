"""The server on the wire: a real process, real calls, each row of the error table, random mixes of calls."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from digits.client import Client
from digits.images.version import PREPROCESSING_VERSION
from digits.model.engine import load_engine
from digits.model.repository import Repository, open_repository
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc
from digits.storage.checksums import file_sha256

Pixels = NDArray[np.uint8]
Stub = digits_pb2_grpc.DigitClassifierStub

SERVICE = "digits.v1.DigitClassifier"
CLASSIFY = f"/{SERVICE}/Classify"
INFERENCE = "inference.GRPCInferenceService"
SERVING = health_pb2.HealthCheckResponse.SERVING
Status = grpc.StatusCode


@pytest.fixture(scope="module")
def expected(models: Path, test_digits: Pixels) -> NDArray[np.float32]:
    """The probabilities of the test digits, by the engine."""
    return load_engine(Repository(models).open(), variant="int8", provider="cpu").run(test_digits)


def request(pixels: Pixels | int, **more: Any) -> digits_pb2.ClassifyRequest:
    """For these digits, or so many bytes."""
    return digits_pb2.ClassifyRequest(pixels=bytes(pixels), include_probabilities=True, **more)


def failure(channel: grpc.Channel, message: bytes, method: str = CLASSIFY) -> grpc.RpcError:
    """The error that raw request bytes get."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    with pytest.raises(grpc.RpcError) as error:
        call(message, timeout=30)
    return error.value


def floats(values: Any) -> bytes:
    return np.array(values, np.float32).tobytes()


# Answers


@pytest.mark.parametrize("count", [1, 1000])
def test_digits_are_answered_as_the_engine_answers(
    stub: Stub, expected: NDArray[np.float32], test_digits: Pixels, count: int
) -> None:
    rows = expected[:count]
    response = stub.Classify(request(test_digits[:count]), timeout=30)
    assert list(response.digits) == rows.argmax(axis=1).tolist()
    assert floats(response.confidences) == rows.max(axis=1).tobytes()
    assert floats(response.probabilities) == rows.tobytes()
    assert response.model_version == "1"
    assert response.batch_size >= count
    assert response.compute_microseconds > 0
    bare = stub.Classify(digits_pb2.ClassifyRequest(pixels=test_digits[:count].tobytes()), timeout=30)
    assert (bare.digits, bare.confidences) == (response.digits, response.confidences)
    assert not bare.probabilities


def test_get_model_describes_the_model_its_evidence_and_the_limits(client: Client, models: Path) -> None:
    model, manifest = client.model(), Repository(models).open().manifest
    evidence = manifest.variants["int8"]
    assert (model.name, model.version, model.precision) == ("digits", "1", "int8")
    assert (model.provider, model.precision_reason) == ("CPUExecutionProvider", "asked for")
    assert (model.preprocessing_version, model.sha256) == (
        PREPROCESSING_VERSION,
        file_sha256(models / "digits" / "1" / evidence.file),
    )
    assert (list(model.labels), model.created) == (list("0123456789"), manifest.created)
    assert (model.evidence.test_source, model.evidence.test_images) == (manifest.test_source, manifest.test_images)
    for field in ("accuracy", "max_abs_diff", "mean_abs_diff", "argmax_agreement"):
        assert getattr(model.evidence, field) == getattr(evidence, field)
    assert (model.limits.max_batch_size, model.limits.max_queue_size) == (1024, 1024)
    assert (model.limits.priority_levels, model.limits.default_priority_level) == (2, 2)


# The error table


ODD = "pixels has {} bytes; expected a positive multiple of 784, one byte a pixel"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        *((request(size), Status.INVALID_ARGUMENT, ODD.format(size)) for size in (0, 1, 783, 785, 1567)),
        (b"\xff\xff\xff", Status.INVALID_ARGUMENT, "the message is not a digits.v1.ClassifyRequest"),
        (
            request(1025 * 784),
            Status.INVALID_ARGUMENT,
            "pixels has 1025 images; max_batch_size is 1024: split the call",
        ),
        (bytes(16 * 1024 * 1024 + 1), Status.RESOURCE_EXHAUSTED, "16777216"),
        (request(784_000, timeout_microseconds=1), Status.DEADLINE_EXCEEDED, "the deadline passed while the call"),
    ],
    ids=range(9),
)
def test_a_call_that_cannot_be_answered_gets_a_status(
    channel: grpc.Channel, message: Any, code: grpc.StatusCode, text: str
) -> None:
    """Also a call whose timeout is over before its batch, if no other call waits."""
    error = failure(channel, message if isinstance(message, bytes) else message.SerializeToString())
    assert error.code() is code
    assert text in str(error.details())


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    assert failure(channel, b"", f"/{SERVICE}/Guess").code() is Status.UNIMPLEMENTED


def test_a_full_queue_refuses_at_once_and_says_when_to_try_again(
    serving: Any, transport: str, test_digits: Pixels
) -> None:
    """Of a flood of calls some are refused, with retry-after-ms, and every other one is answered correctly."""
    with serving("--transport", transport, "--max-queue-size", 2) as server, grpc.insecure_channel(server.address) as c:
        stub = digits_pb2_grpc.DigitClassifierStub(c)
        calls = [stub.Classify.future(request(test_digits), timeout=60) for _ in range(100)]
        assert {call.code() for call in calls} == {Status.OK, Status.RESOURCE_EXHAUSTED}
        refused = next(call for call in calls if call.code() is Status.RESOURCE_EXHAUSTED)
        assert "the queue is full: 2 calls wait" in str(refused.details())
        assert int(dict(refused.trailing_metadata())["retry-after-ms"]) >= 1
        assert len({tuple(call.result().digits) for call in calls if call.code() is Status.OK}) == 1


# Health and reflection


def test_health_is_serving_for_the_server_and_each_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE, INFERENCE):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status == SERVING
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=30)
    assert error.value.code() is Status.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_every_service_and_our_whole_contract(channel: grpc.Channel, version: str) -> None:
    """Under both of its names; its messages are the same in both."""
    ours = f"grpc.reflection.{version}.ServerReflection"
    Request = reflection_pb2.ServerReflectionRequest  # noqa: N806 a class
    info: Any = channel.stream_stream(
        f"/{ours}/ServerReflectionInfo", Request.SerializeToString, reflection_pb2.ServerReflectionResponse.FromString
    )
    asked = [Request(list_services=""), Request(file_containing_symbol=SERVICE), Request(file_containing_symbol=ours)]
    listed, *described = info(iter(asked), timeout=30)
    reflections = {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")}
    names = {service.name for service in listed.list_services_response.service}
    assert names == {SERVICE, INFERENCE, "grpc.health.v1.Health", *reflections}
    files = [each.file_descriptor_response.file_descriptor_proto for each in described]
    packages = [FileDescriptorProto.FromString(content).package for (content,) in files]
    assert packages == ["digits.v1", f"grpc.reflection.{version}"]


# Random mixes: every answer belongs to its caller, none is lost or comes twice


CALLS = 250  # of a mix
CONNECTIONS = 8  # so that none has more than 20 of its calls reset at once, which HTTP/2 takes for an attack
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
IN_TIME = {Status.OK, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED}
OUTCOMES = {"kept": {Status.OK}, "cancelled": {Status.OK, Status.CANCELLED}, "deadline": IN_TIME, "timeout": IN_TIME}


@dataclass(frozen=True)
class Plan:
    """One call: its images, its protocol, its level, and what becomes of it."""

    start: int
    count: int
    protocol: str
    priority: int
    fate: str
    milliseconds: int  # of deadline or timeout


plans = st.builds(
    Plan,
    start=st.integers(0, 900),
    count=st.one_of(st.just(1), st.integers(1, 64)),
    protocol=st.sampled_from(["digits", "inference"]),
    priority=st.integers(0, 3),
    fate=st.sampled_from(["kept", "kept", "cancelled", "deadline", "timeout"]),
    milliseconds=st.integers(1, 30),
)
mixes = st.lists(plans, min_size=CALLS, max_size=CALLS)


class Caller:
    """Makes the calls of a plan, and reads their answers."""

    def __init__(self, channels: list[grpc.Channel]) -> None:
        self._digits = [digits_pb2_grpc.DigitClassifierStub(channel) for channel in channels]
        self._inference = [inference_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in channels]

    def call(self, index: int, plan: Plan, pixels: Pixels) -> Any:
        timeout = plan.milliseconds / 1000 if plan.fate == "deadline" else 60
        wait = 1000 * plan.milliseconds if plan.fate == "timeout" else 0
        if plan.protocol == "digits":
            request = digits_pb2.ClassifyRequest(
                pixels=pixels.tobytes(), include_probabilities=True, priority=plan.priority, timeout_microseconds=wait
            )
            return self._digits[index % CONNECTIONS].Classify.future(request, timeout=timeout)
        infer = inference_pb2.ModelInferRequest(
            model_name="digits", id=str(index), raw_input_contents=[pixels.tobytes()]
        )
        infer.inputs.add(name="pixels", datatype="UINT8", shape=[len(pixels), 28, 28])
        infer.parameters["priority"].uint64_param = plan.priority
        infer.parameters["timeout"].int64_param = wait
        return self._inference[index % CONNECTIONS].ModelInfer.future(infer, timeout=timeout)


def probabilities(index: int, plan: Plan, response: Any) -> bytes:
    if plan.protocol == "digits":
        return np.array(response.probabilities, np.float32).tobytes()
    assert response.id == str(index)
    raw: bytes = response.raw_output_contents[0]
    return raw


@pytest.fixture(scope="module")
def caller(serving: Any, transport: str) -> Iterator[Caller]:
    """At a server whose batches take 2 ms, so that calls wait, are refused, expire and are cancelled in the queue."""
    slow = ("--slow-down-microseconds", 2000, "--max-batch-size", 128)
    with serving("--precision", "fp32", "--transport", transport, *slow) as server, ExitStack() as stack:
        yield Caller([stack.enter_context(grpc.insecure_channel(server.address, OWN)) for _ in range(CONNECTIONS)])


@pytest.fixture(scope="module")
def rows(test_digits: Pixels) -> Any:
    return load_engine(open_repository(None).open(), variant="fp32", provider="cpu").run(test_digits)


def check(mix: list[Plan], caller: Caller, pixels: Pixels, rows: Any) -> None:
    ended: SimpleQueue[int] = SimpleQueue()
    calls = []
    for index, plan in enumerate(mix):
        call = caller.call(index, plan, pixels[plan.start : plan.start + plan.count])
        call.add_done_callback(lambda _, index=index: ended.put(index))
        calls.append(call)
    for plan, call in zip(mix, calls, strict=True):
        if plan.fate == "cancelled":
            call.cancel()
    assert sorted(ended.get(timeout=60) for _ in mix) == list(range(len(mix)))
    for index, (plan, call) in enumerate(zip(mix, calls, strict=True)):
        assert call.code() in OUTCOMES[plan.fate], (plan, call.details())
        if call.code() is Status.OK:
            own = rows[plan.start : plan.start + plan.count]
            assert probabilities(index, plan, call.result()) == own.tobytes()
    assert ended.empty()


mixed = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@given(mix=mixes)
@settings(mixed, max_examples=6)
def test_1500_calls_in_random_mixes(caller: Caller, test_digits: Pixels, rows: Any, mix: list[Plan]) -> None:
    check(mix, caller, test_digits, rows)


@pytest.mark.slow
@given(mix=mixes)
@settings(mixed, max_examples=40, derandomize=False)
def test_10000_calls_in_random_mixes(caller: Caller, test_digits: Pixels, rows: Any, mix: list[Plan]) -> None:
    check(mix, caller, test_digits, rows)
