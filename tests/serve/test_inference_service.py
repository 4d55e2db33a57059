"""The Open Inference Protocol but for `ModelInfer`: bytes in, bytes out."""

from __future__ import annotations

from importlib import metadata

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


def service(*, ready: bool = True, statistics: Statistics | None = None) -> InferenceService:
    return InferenceService(MODEL, SETTINGS, statistics or Statistics(), lambda: ready)


def test_every_method_but_inference_is_answered() -> None:
    assert {*service().methods, "ModelInfer", "ModelStreamInfer"} == {method.name for method in INFERENCE.methods}


@pytest.mark.parametrize("ready", [True, False])
def test_health_is_live_in_any_case_and_ready_when_the_server_is(ready: bool) -> None:
    tried = service(ready=ready)
    assert pb.ServerLiveResponse.FromString(tried.answer("ServerLive", b"")).live
    assert pb.ServerReadyResponse.FromString(tried.answer("ServerReady", b"")).ready == ready
    for version in ("", "7"):
        request = pb.ModelReadyRequest(name="digits", version=version).SerializeToString()
        assert pb.ModelReadyResponse.FromString(tried.answer("ModelReady", request)).ready == ready


@pytest.mark.parametrize(("name", "version"), [("x", ""), ("", ""), ("digits", "6")])
def test_a_model_that_is_not_here_is_not_ready_and_not_found_otherwise(name: str, version: str) -> None:
    request = pb.ModelReadyRequest(name=name, version=version).SerializeToString()  # the others' fields are the same
    assert not pb.ModelReadyResponse.FromString(service().answer("ModelReady", request)).ready
    for method in {"ModelMetadata", "ModelConfig", "ModelStatistics"} - ({"ModelStatistics"} if not name else set()):
        with pytest.raises(NotFound, match=r"^Request for unknown model: "):
            service().answer(method, request)


def test_the_server_and_its_model_are_described() -> None:
    server = pb.ServerMetadataResponse.FromString(service().answer("ServerMetadata", b""))
    assert (server.name, server.version) == ("digits", metadata.version("digits-serving"))
    assert list(server.extensions) == ["classification", "schedule_policy", "model_configuration", "statistics"]
    request = pb.ModelMetadataRequest(name="digits").SerializeToString()
    model = pb.ModelMetadataResponse.FromString(service().answer("ModelMetadata", request))
    assert model == text_format.Parse(METADATA, pb.ModelMetadataResponse())


def test_the_configuration_is_that_of_the_settings_and_of_the_repository() -> None:
    """What is in config.pbtxt is said of the server too, but for the outputs that the server adds."""
    request = pb.ModelConfigRequest(name="digits", version="7").SerializeToString()
    config = pb.ModelConfigResponse.FromString(service().answer("ModelConfig", request)).config
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
    expected = text_format.Parse(published, pb.ModelConfig())
    del expected.output[1:]  # the novelty, which this model lacks
    assert config == expected


@pytest.mark.parametrize("name", ["", "digits"])
def test_the_statistics_are_what_was_recorded_in_tritons_terms(name: str) -> None:
    recorded = Statistics()
    recorded.record_batch(2, 4, 1.5, 0.5)
    recorded.record_batch(3, 7, 0.5, 0.5)
    recorded.record_failure("queue_full", 0.75)
    request = pb.ModelStatisticsRequest(name=name).SerializeToString()
    response = pb.ModelStatisticsResponse.FromString(service(statistics=recorded).answer("ModelStatistics", request))
    (said,) = response.model_stats
    assert said.last_inference == recorded.totals().last_ms
    said.ClearField("last_inference")
    assert said == text_format.Parse(STATISTICS, pb.ModelStatistics())


@pytest.mark.parametrize(
    ("ready", "only_ready", "listed"),
    [
        (True, False, [("READY", "")]),
        (True, True, [("READY", "")]),
        (False, False, [("UNAVAILABLE", "the server is draining")]),
        (False, True, []),
    ],
)
def test_the_repository_has_one_model(ready: bool, only_ready: bool, listed: list[tuple[str, str]]) -> None:
    request = pb.RepositoryIndexRequest(ready=only_ready).SerializeToString()
    response = pb.RepositoryIndexResponse.FromString(service(ready=ready).answer("RepositoryIndex", request))
    assert [(m.name, m.version, m.state, m.reason) for m in response.models] == [("digits", "7", *m) for m in listed]


def test_a_repository_by_name_is_refused() -> None:
    request = pb.RepositoryIndexRequest(repository_name="r").SerializeToString()
    with pytest.raises(InvalidRequest, match=r"^'repository_name' specification is not supported: 'r'; expected none$"):
        service().answer("RepositoryIndex", request)


def test_bytes_that_are_no_message_are_refused_by_every_method() -> None:
    for method in service().methods:
        with pytest.raises(InvalidRequest, match=rf"^the message is not an inference\.{method}Request: "):
            service().answer(method, b"\xff")
