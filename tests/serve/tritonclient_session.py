"""A session of tritonclient, as its users write it: `python tritonclient_session.py ADDRESS FILE`.

The file has the digits to send, what digits' own client is told of them, and the descriptor of our protocol. In a
process of its own: tritonclient registers the same names with protobuf as the server does.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from importlib import metadata
from queue import SimpleQueue
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

expected = np.load(sys.argv[2])
digits = expected["digits"]
count = len(digits)
UNKNOWN = "Request for unknown model: 'x' is not found; there is 'digits'"


def given(pixels: Any) -> list[Any]:
    tensor = triton.InferInput("pixels", list(pixels.shape), np_to_triton_dtype(pixels.dtype))
    return [tensor.set_data_from_numpy(pixels)]


def check(result: Any) -> None:
    """To the bit what digits' own client is told."""
    for output, dtype, columns in (
        ("probabilities", np.float32, 10),
        ("digit", np.uint8, 1),
        ("confidence", np.float32, 1),
        ("novelty", np.float32, 1),
    ):
        array = result.as_numpy(output)
        assert (array.dtype, array.shape) == (dtype, (count, columns))
        assert array.tobytes() == expected[output].tobytes()


def refused(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    raise AssertionError(call)


def compare_protocols(_client: Any) -> None:
    """Each message, field, enumeration and method of ours is tritonclient's."""
    ours = FileDescriptorProto.FromString(expected["proto"].tobytes())
    theirs = [FileDescriptorProto.FromString(each.DESCRIPTOR.serialized_pb) for each in (model_config_pb2, service_pb2)]
    assert {file.package for file in theirs} == {ours.package}
    assert set(entries(ours)) <= {entry for file in theirs for entry in entries(file)}


def entries(file: FileDescriptorProto) -> list[tuple[object, ...]]:
    """All that is on the wire of a file."""
    found: list[tuple[object, ...]] = [(e.name, v.name, v.number) for e in file.enum_type for v in e.value]
    found += [(s.name, m.name, m.input_type, m.output_type) for s in file.service for m in s.method]
    waiting = [(m.name, m) for m in file.message_type]
    while waiting:
        path, kind = waiting.pop()
        found += [(path, f.name, f.number, f.type, f.label, f.type_name) for f in kind.field]
        found += [(path, e.name, v.name, v.number) for e in kind.enum_type for v in e.value]
        waiting += [(f"{path}.{m.name}", m) for m in kind.nested_type]
    return found


def describe(client: Any) -> None:
    """What the descriptions say is tested in test_inference_service.py."""
    assert client.is_server_live()
    assert client.is_server_ready()
    models = (("digits",), ("digits", "1"), ("digits", "9"), ("x",))
    assert [client.is_model_ready(*model) for model in models] == [True, True, False, False]
    assert client.get_server_metadata().version == metadata.version("digits-serving")
    assert client.get_model_metadata("digits").versions == ["1"]
    policy = client.get_model_config("digits", "1").config.dynamic_batching.default_queue_policy
    assert policy.allow_timeout_override
    (model,) = client.get_model_repository_index().models
    assert (model.name, model.version, model.state) == ("digits", "1", "READY")


def infer(client: Any) -> None:
    """Each call is awaited and so is a batch of its own; other tests may have used the server before."""
    (before,) = client.get_inference_statistics("digits").model_stats
    fp32 = digits.astype(np.float32)
    ways: list[tuple[Any, dict[str, Any]]] = [
        (digits, {}),
        (digits.reshape(-1, 784), {}),
        ((digits / 255).astype(np.float16), {}),
        (fp32 / np.float32(255), {}),
        (fp32, {"parameters": {"pixel_range": "0-255"}}),
        (digits, {"priority": 1, "timeout": 60_000_000, "model_version": "1"}),
        (digits, {"sequence_id": 5, "sequence_start": True}),
        (digits, {"compression_algorithm": "gzip"}),
    ]
    for pixels, options in ways:
        check(client.infer("digits", given(pixels), **options))
    asked = [triton.InferRequestedOutput(name) for name in ("digit", "probabilities")]
    some = client.infer("digits", given(digits[:1]), outputs=asked, request_id="call 5").get_response()
    assert [output.name for output in some.outputs] == ["digit", "probabilities"]
    assert (some.id, some.model_name, some.model_version) == ("call 5", "digits", "1")
    (after,) = client.get_inference_statistics("digits").model_stats
    assert after.inference_count - before.inference_count == count * len(ways) + 1
    assert after.execution_count - before.execution_count == len(ways) + 1
    assert count in {batch.batch_size for batch in after.batch_stats}


def be_refused(client: Any) -> None:
    (before,) = client.get_inference_statistics().model_stats
    assert refused(client.infer, "x", given(digits)) == f"StatusCode.NOT_FOUND: {UNKNOWN}"
    text = refused(client.infer, "digits", given(digits.astype(np.float32)), request_id="call 6")
    assert text.startswith(
        "StatusCode.INVALID_ARGUMENT: [request id: call 6] input 'pixels' for model 'digits': pixel "
    )
    (after,) = client.get_inference_statistics().model_stats
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 2
    for method, call in {
        "LogSettings": (client.get_log_settings,),
        "SystemSharedMemoryRegister": (client.register_system_shared_memory, "region", "/key", 784),
        "RepositoryModelLoad": (client.load_model, "digits"),
    }.items():
        path = f"/inference.GRPCInferenceService/{method}"
        assert refused(*call) == f"StatusCode.UNIMPLEMENTED: {path} is not served; reflection lists what is"


def ask_for_classes(client: Any) -> None:
    """As BYTES [n, 3]; an output of one column has one class, and a number of its own as its value."""
    classes = {"probabilities": 3, "digit": 2, "confidence": 0}
    asked = [triton.InferRequestedOutput(name, class_count=count) for name, count in classes.items()]
    result = client.infer("digits", given(digits), outputs=asked)
    texts = [np.char.decode(result.as_numpy(name).astype(bytes)).tolist() for name in ("probabilities", "digit")]
    rows = expected["probabilities"]
    top = np.argsort(-rows, axis=1, kind="stable")[:, :3]
    highest = [[f"{rows[i, c]:f}:{c}:{c}" for c in columns] for i, columns in enumerate(top)]
    assert texts == [highest, [[f"{digit}:0"] for digit in expected["digit"]]]


def stream(client: Any) -> None:
    """1,000 requests, of which one has no model; a stopped stream has got all answers, in order."""
    outcomes: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    client.start_stream(lambda result, error: outcomes.put((result, error)))
    for i in range(1000):
        client.async_stream_infer("x" if i == 500 else "digits", given(digits[i % count][None]), request_id=str(i))
    client.stop_stream()
    seen = [outcomes.get() for _ in range(outcomes.qsize())]
    answers = [(result.get_response().id, result.as_numpy("digit").item()) for result, _ in seen if result]
    assert answers == [(str(i), expected["digit"][i % count]) for i in range(1000) if i != 500]
    assert [error.message() for _, error in seen if error] == [UNKNOWN]


async def run_asynchronously() -> None:
    async with triton_aio.InferenceServerClient(sys.argv[1]) as client:
        assert await client.is_server_ready()
        for result in await asyncio.gather(*(client.infer("digits", given(digits)) for _ in range(8))):
            check(result)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for _ in range(8):
                yield {"model_name": "digits", "inputs": given(digits)}

        answers = [answer async for answer in client.stream_infer(requests())]
        assert len(answers) == 8
        for result, error in answers:
            assert not error
            check(result)


with triton.InferenceServerClient(sys.argv[1]) as client:
    for step in (compare_protocols, describe, infer, be_refused, ask_for_classes, stream):
        step(client)
asyncio.run(run_asynchronously())
