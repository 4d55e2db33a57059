"""tritonclient, as its users write it, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from digits.client import Client
    from digits.tests.conftest import ServerProcess
    from digits.tests.serve.conftest import Pixels

    Report = dict[str, Any]

# In a process of its own: tritonclient registers the same names with protobuf as the server does. Given an address and
# a file of digits, uint8 [n, 28, 28], prints all that it saw as JSON.
SESSION = """
import asyncio, json, sys
from queue import SimpleQueue

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

address, file = sys.argv[1:]
digits = np.load(file)
MODELS = (("digits",), ("digits", "1"), ("digits", "9"), ("x",))


def given(pixels, name="pixels"):
    tensor = triton.InferInput(name, list(pixels.shape), np_to_triton_dtype(pixels.dtype))
    return [tensor.set_data_from_numpy(pixels)]


def seen(result):
    arrays = {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}
    return {name: [str(array.dtype), list(array.shape), array.tolist()] for name, array in arrays.items()}


def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except InferenceServerException as error:
        return [error.status(), error.message()]


def described(client):
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready(*model) for model in MODELS],
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata("digits", as_json=True),
        "config": client.get_model_config("digits", "1", as_json=True)["config"],
        "index": client.get_model_repository_index(as_json=True),
    }


def inferred(client):
    ways = {
        "uint8": (given(digits), {}),
        "flat": (given(digits.reshape(-1, 784)), {}),
        "fp16": (given((digits / 255).astype(np.float16)), {}),
        "fp32": (given(digits / np.float32(255)), {}),
        "fp32_255": (given(digits.astype(np.float32)), {"parameters": {"pixel_range": "0-255"}}),
        "urgent": (given(digits), {"priority": 1, "timeout": 60_000_000, "model_version": "1"}),
        "sequence": (given(digits), {"sequence_id": 5, "sequence_start": True}),
        "compressed": (given(digits), {"compression_algorithm": "gzip"}),
    }
    answers = {way: seen(client.infer("digits", inputs, **options)) for way, (inputs, options) in ways.items()}
    asked = [triton.InferRequestedOutput(name) for name in ("digit", "probabilities")]
    some = client.infer("digits", given(digits[:1]), outputs=asked, request_id="call 5").get_response()
    return {
        "answers": answers,
        "some": [[output.name for output in some.outputs], some.id, some.model_name, some.model_version],
    }


def classified(client):
    counts = {"probabilities": 3, "digit": 2, "confidence": 0}
    asked = [triton.InferRequestedOutput(name, class_count=count) for name, count in counts.items()]
    result = client.infer("digits", given(digits), outputs=asked)
    return {name: np.char.decode(result.as_numpy(name).astype(bytes)).tolist() for name in ("probabilities", "digit")}


def streamed(client):
    # 1,000 requests, of which one has no model.
    outcomes = SimpleQueue()
    client.start_stream(lambda result, error: outcomes.put((result, error)))
    for i in range(1000):
        image = digits[i % len(digits)][None]
        client.async_stream_infer("x" if i == 500 else "digits", given(image), request_id=str(i))
    client.stop_stream()
    seen = [outcomes.get() for _ in range(outcomes.qsize())]
    assert len(seen) == 1000
    answers = [(result.get_response().id, result.as_numpy("digit").tolist()) for result, _ in seen if result]
    return {"answers": answers, "errors": [error.message() for _, error in seen if error]}


def unserved(client):
    calls = {
        "LogSettings": [client.get_log_settings],
        "SystemSharedMemoryRegister": [client.register_system_shared_memory, "region", "/key", 784],
        "RepositoryModelLoad": [client.load_model, "digits"],
    }
    return {method: refused(*call) for method, call in calls.items()}


def errors(client):
    wrong = given(digits.astype(np.float32))
    return {
        "name": refused(client.infer, "x", given(digits)),
        "value": refused(client.infer, "digits", wrong, request_id="call 6"),
    }


async def asynchronous():
    async with triton_aio.InferenceServerClient(address) as client:
        results = await asyncio.gather(*(client.infer("digits", given(digits)) for _ in range(8)))

        async def requests():
            for _ in range(8):
                yield {"model_name": "digits", "inputs": given(digits)}

        streamed = [seen(result) async for result, error in client.stream_infer(requests()) if not error]
        return {"ready": await client.is_server_ready(), "answers": [*map(seen, results), *streamed]}


with triton.InferenceServerClient(address) as client:
    report = {"described": described(client), "inferred": inferred(client)}
    report["statistics"] = client.get_inference_statistics("digits", as_json=True)["model_stats"]
    report["errors"] = errors(client)
    report["after"] = client.get_inference_statistics(as_json=True)["model_stats"]
    report["classified"] = classified(client)
    report["streamed"] = streamed(client)
    report["unserved"] = unserved(client)
report["asynchronous"] = asyncio.run(asynchronous())
print(json.dumps(report))
"""
SENT = 4
WAYS = ("uint8", "flat", "fp16", "fp32", "fp32_255", "urgent", "sequence", "compressed")


@pytest.fixture(scope="module")
def report(server: ServerProcess, test_digits: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """All that tritonclient saw of the server, which nobody else was using."""
    file: Path = tmp_path_factory.mktemp("triton") / "digits.npy"
    np.save(file, test_digits[:SENT])
    command = [sys.executable, "-c", SESSION, server.address, str(file)]
    completed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    seen: Report = json.loads(completed.stdout)
    return seen


def test_health_and_description_are_read(report: Report) -> None:
    """What they say is tested in test_inference_service.py."""
    described = report["described"]
    assert (described["live"], described["ready"]) == (True, True)
    assert described["model_ready"] == [True, True, False, False]
    assert described["server"]["version"] == metadata.version("digits-serving")
    model, config = described["model"], described["config"]
    assert (model["name"], model["versions"], model["platform"]) == ("digits", ["1"], "onnxruntime_onnx")
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("digits", "onnxruntime", 1024)
    assert config["dynamic_batching"]["default_queue_policy"]["allow_timeout_override"]
    assert described["index"] == {"models": [{"name": "digits", "version": "1", "state": "READY"}]}


def test_every_way_of_sending_digits_gets_the_clients_own_answers(
    report: Report, client: Client, test_digits: Pixels
) -> None:
    """Of any datatype and shape, alone, with others or on a stream: what digits' own client is told, to the bit."""
    expected = client.classify(test_digits[:SENT], include_probabilities=True)
    assert expected.probabilities is not None
    answers = report["inferred"]["answers"]
    assert tuple(answers) == WAYS
    for answer in (*answers.values(), *report["asynchronous"]["answers"]):
        assert {name: entry[:2] for name, entry in answer.items()} == {
            "probabilities": ["float32", [SENT, 10]],
            "digit": ["uint8", [SENT, 1]],
            "confidence": ["float32", [SENT, 1]],
            "novelty": ["float32", [SENT, 1]],
        }
        assert expected.novelties is not None
        assert np.array_equal(np.float32(np.ravel(answer["novelty"][2])), expected.novelties)
        assert np.array_equal(np.float32(answer["probabilities"][2]), expected.probabilities)
        assert np.array_equal(np.ravel(answer["digit"][2]), expected.digits)
        assert np.array_equal(np.float32(np.ravel(answer["confidence"][2])), expected.confidences)
    assert report["asynchronous"]["ready"]
    # Outputs come as asked for, and the id comes back.
    assert report["inferred"]["some"] == [["digit", "probabilities"], "call 5", "digits", "1"]


@pytest.mark.parametrize(
    ("case", "status", "text"),
    [
        ("name", "NOT_FOUND", "Request for unknown model: 'x' is not found; there is 'digits'"),
        ("value", "INVALID_ARGUMENT", "[request id: call 6] input 'pixels' for model 'digits': pixel "),
    ],
)
def test_an_error_is_an_exception_that_says_why(report: Report, case: str, status: str, text: str) -> None:
    code, message = report["errors"][case]
    assert code == f"StatusCode.{status}"
    assert text in message


def test_classes_come_instead_of_an_outputs_elements(report: Report, client: Client, test_digits: Pixels) -> None:
    """As BYTES [n, 3]; an output of one column has one class, and a number of its own as its value."""
    expected = client.classify(test_digits[:SENT], include_probabilities=True)
    assert expected.probabilities is not None
    top = np.argsort(-expected.probabilities, axis=1, kind="stable")[:, :3]
    assert report["classified"] == {
        "probabilities": [
            [f"{row[column]:f}:{column}:{column}" for column in columns]
            for row, columns in zip(expected.probabilities, top, strict=True)
        ],
        "digit": [[f"{digit}:0"] for digit in expected.digits],
    }


def test_a_stopped_stream_has_got_all_answers(report: Report, client: Client, test_digits: Pixels) -> None:
    """In order; to the one that was refused an error, and no other to the stream itself."""
    digits = client.classify(test_digits[:SENT]).digits
    streamed = report["streamed"]
    assert streamed["answers"] == [[str(i), [[int(digits[i % SENT])]]] for i in range(1000) if i != 500]
    assert streamed["errors"] == ["Request for unknown model: 'x' is not found; there is 'digits'"]


def test_a_method_that_is_not_served_is_named(report: Report) -> None:
    assert len(report["unserved"]) == 3
    for method, said in report["unserved"].items():
        text = f"/inference.GRPCInferenceService/{method} is not served; reflection lists what is"
        assert said == ["StatusCode.UNIMPLEMENTED", text]


def test_the_statistics_count_what_was_inferred(report: Report) -> None:
    """At least: other tests used the server before. Each call was awaited and so is a batch of its own."""
    (said,), (after,) = report["statistics"], report["after"]
    calls = len(WAYS) + 1
    assert int(said["inference_count"]) >= SENT * len(WAYS) + 1
    assert int(said["execution_count"]) >= calls
    assert int(said["inference_stats"]["success"]["count"]) >= calls
    assert str(SENT) in {batch["batch_size"] for batch in said["batch_stats"]}
    assert int(after["inference_stats"]["fail"]["count"]) > int(said["inference_stats"]["fail"].get("count", "0"))
    assert after["inference_count"] == said["inference_count"]
