"""The Open Inference Protocol but for `ModelInfer`: bytes in, bytes out."""

from importlib import metadata
from typing import Any

import pytest
from google.protobuf import text_format

from digits.model.repository import open_repository
from digits.model.triton import config_pbtxt
from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.errors import InvalidRequest, NotFound
from digits.serve.oip.model_info import ModelInfo
from digits.serve.oip.service import InferenceService
from digits.serve.services import INFERENCE
from digits.serve.settings import ServeSettings
from digits.serve.statistics import Statistics

SETTINGS = ServeSettings(
    max_queue_size=512,
    max_queue_delay_microseconds=100,
    priority_levels=3,
    default_priority_level=2,
    default_timeout_microseconds=5_000_000,
    instances=2,
)
MODEL = ModelInfo("digits", "7", precision="int8")
METADATA = """
name: "digits" versions: "7" platform: "onnxruntime_onnx"
inputs { name: "pixels" datatype: "UINT8" shape: [-1, 28, 28] }
outputs { name: "probabilities" datatype: "FP32" shape: [-1, 10] }
outputs { name: "digit" datatype: "UINT8" shape: [-1, 1] }
outputs { name: "confidence" datatype: "FP32" shape: [-1, 1] }
"""
BATCHING = """
max_queue_delay_microseconds: 100 priority_levels: 3 default_priority_level: 2
default_queue_policy { default_timeout_microseconds: 5000000 allow_timeout_override: true max_queue_size: 512 }
"""
STATISTICS = """
name: "digits" version: "7" inference_count: 11 execution_count: 2
inference_stats {
  success { count: 5 ns: 4500000000 } fail { count: 1 ns: 750000000 } queue { count: 5 ns: 2000000000 }
  compute_input { count: 5 } compute_infer { count: 5 ns: 2500000000 } compute_output { count: 5 }
}
batch_stats {
  batch_size: 4 compute_input { count: 1 } compute_infer { count: 1 ns: 500000000 } compute_output { count: 1 }
}
batch_stats {
  batch_size: 7 compute_input { count: 1 } compute_infer { count: 1 ns: 500000000 } compute_output { count: 1 }
}
"""


SERVER = """
name: "digits" version: "{}" extensions: "classification" extensions: "schedule_policy"
extensions: "model_configuration" extensions: "statistics"
"""
UP = 'models {{ name: "digits" version: "7" state: "{}" reason: "{}" }}'.format
DRAINING = UP("UNAVAILABLE", "the server is draining")


def service(*, ready: bool = True, statistics: Statistics | None = None) -> InferenceService:
    return InferenceService(MODEL, SETTINGS, statistics or Statistics(), lambda: ready)


def ask(asked: InferenceService, method: str, request: str = "") -> Any:
    """The response to a request in protobuf's text format."""
    message = text_format.Parse(request, getattr(pb, f"{method}Request")())
    return getattr(pb, f"{method}Response").FromString(asked.answer(method, message.SerializeToString()))


def test_every_method_but_inference_is_answered() -> None:
    assert {*service().methods, "ModelInfer", "ModelStreamInfer"} == {method.name for method in INFERENCE.methods}


@pytest.mark.parametrize(
    ("method", "request_text", "ready", "draining"),
    [
        ("ServerLive", "", "live: true", "live: true"),
        ("ServerReady", "", "ready: true", ""),
        ("ModelReady", 'name: "digits"', "ready: true", ""),
        ("ModelReady", 'name: "digits" version: "7"', "ready: true", ""),
        ("ModelReady", 'name: "digits" version: "6"', "", ""),
        ("ModelReady", 'name: "x"', "", ""),
        ("ModelReady", "", "", ""),
        ("ServerMetadata", "", SERVER.format(metadata.version("digits-serving")), None),
        ("ModelMetadata", 'name: "digits"', METADATA, None),
        ("RepositoryIndex", "", UP("READY", ""), DRAINING),
        ("RepositoryIndex", "ready: true", UP("READY", ""), ""),
    ],
)
def test_a_server_that_is_ready_or_drains_describes_itself(
    method: str, request_text: str, ready: str, draining: str | None
) -> None:
    for is_ready, expected in ((True, ready), (False, ready if draining is None else draining)):
        found = ask(service(ready=is_ready), method, request_text)
        assert found == text_format.Parse(expected, type(found)())


@pytest.mark.parametrize(("name", "version"), [("x", ""), ("", ""), ("digits", "6")])
def test_a_model_that_is_not_here_is_not_found(name: str, version: str) -> None:
    for method in {"ModelMetadata", "ModelConfig", "ModelStatistics"} - ({"ModelStatistics"} if not name else set()):
        with pytest.raises(NotFound, match=r"^Request for unknown model: "):
            ask(service(), method, f'name: "{name}" version: "{version}"')


def test_the_configuration_is_that_of_the_settings_and_of_the_repository() -> None:
    """What is in config.pbtxt is said of the server too, but for the outputs that the server adds."""
    config = ask(service(), "ModelConfig", 'name: "digits" version: "7"').config
    assert config.dynamic_batching == text_format.Parse(BATCHING, pb.ModelDynamicBatching())
    (group,) = config.instance_group
    assert (group.count, group.kind) == (2, pb.ModelInstanceGroup.KIND_CPU)
    assert config.parameters["precision"].string_value == "int8"
    assert [output.name for output in config.output] == ["probabilities", "digit", "confidence"]
    del config.output[1:]
    for field in ("dynamic_batching", "instance_group", "parameters"):
        config.ClearField(field)
    config.dynamic_batching.SetInParent()
    published = config_pbtxt(open_repository(None).open().manifest)
    expected = text_format.Parse(published, pb.ModelConfig(), allow_unknown_field=True)
    del expected.output[1:]  # the novelty, which this model lacks
    assert config == expected


@pytest.mark.parametrize("model", ["", 'name: "digits"'])
def test_the_statistics_are_what_was_recorded_in_tritons_terms(model: str) -> None:
    recorded = Statistics()
    recorded.record_batch(2, 4, 1.5, 0.5)
    recorded.record_batch(3, 7, 0.5, 0.5)
    recorded.record_failure("queue_full", 0.75)
    (said,) = ask(service(statistics=recorded), "ModelStatistics", model).model_stats
    assert said.last_inference == recorded.totals().last_ms
    said.ClearField("last_inference")
    assert said == text_format.Parse(STATISTICS, pb.ModelStatistics())


def test_a_repository_by_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^'repository_name' specification is not supported: 'r'; expected none$"):
        ask(service(), "RepositoryIndex", 'repository_name: "r"')


def test_bytes_that_are_no_message_are_refused_by_every_method() -> None:
    for method in service().methods:
        with pytest.raises(InvalidRequest, match=rf"^the message is not an inference\.{method}Request: "):
            service().answer(method, b"\xff")
