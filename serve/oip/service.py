"""The Open Inference Protocol's other methods: what the server is, whether it is ready, what it has done."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Any

from google.protobuf.message import Message

from digits.model.runtime import CUDA
from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.errors import InvalidRequest, NotFound, read_message
from digits.serve.oip.model_info import INPUT, ModelInfo, quoted
from digits.serve.settings import ServeSettings
from digits.serve.statistics import Statistics

PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
EXTENSIONS = ("classification", "schedule_policy", "model_configuration", "statistics")  # as Triton names them
Tensor = pb.ModelMetadataResponse.TensorMetadata
Duration = pb.StatisticDuration


@dataclass(frozen=True)
class InferenceService:
    """Answers each of its methods: a message for a message."""

    model: ModelInfo
    settings: ServeSettings
    statistics: Statistics
    is_ready: Callable[[], bool]

    @cached_property
    def methods(self) -> dict[str, Callable[[Any], Message]]:
        """What answers a request, by the method's name."""
        version = metadata.version("digits-serving")
        about = pb.ServerMetadataResponse(name="digits", version=version, extensions=EXTENSIONS)
        return {
            "ServerLive": lambda _: pb.ServerLiveResponse(live=True),
            "ServerReady": lambda _: pb.ServerReadyResponse(ready=self.is_ready()),
            "ServerMetadata": lambda _: about,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
        }

    def answer(self, method: str, message: bytes) -> bytes:
        """The response to a method of `methods`, bytes for bytes. Raises InvalidRequest or NotFound."""
        return self.methods[method](read_message(getattr(pb, f"{method}Request"), message)).SerializeToString()

    def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """As with Triton, an unknown model is not ready, and not an error."""
        try:
            self.model.require(request.name, request.version)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self.is_ready())

    def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        self.model.require(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=self.model.name,
            versions=[self.model.version],
            platform=PLATFORM,
            inputs=[Tensor(name=INPUT, datatype="UINT8", shape=[-1, 28, 28])],
            outputs=[Tensor(name=o.name, datatype=o.datatype, shape=[-1, o.columns]) for o in self.model.outputs],
        )

    def _model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        self.model.require(request.name, request.version)
        return pb.ModelConfigResponse(config=model_config(self.model, self.settings))

    def _model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        """A call's time is that in the queue and that of its whole batch. What comes before and after is not timed."""
        self.model.require(request.name or self.model.name, request.version)
        totals = self.statistics.totals()
        untimed = Duration(count=totals.calls)
        statistics = pb.ModelStatistics(
            name=self.model.name,
            version=self.model.version,
            last_inference=totals.last_ms,
            inference_count=totals.images,
            execution_count=totals.batches,
            inference_stats=pb.InferStatistics(
                success=Duration(count=totals.calls, ns=totals.queue_ns + totals.compute_ns),
                fail=Duration(count=sum(totals.failures.values()), ns=totals.failure_ns),
                queue=Duration(count=totals.calls, ns=totals.queue_ns),
                compute_input=untimed,
                compute_infer=Duration(count=totals.calls, ns=totals.compute_ns),
                compute_output=untimed,
            ),
        )
        for size, (count, ns) in totals.batch_sizes.items():
            statistics.batch_stats.add(
                batch_size=size,
                compute_input=Duration(count=count),
                compute_infer=Duration(count=count, ns=ns),
                compute_output=Duration(count=count),
            )
        return pb.ModelStatisticsResponse(model_stats=[statistics])

    def _repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        if request.repository_name:
            raise InvalidRequest(
                f"'repository_name' specification is not supported: {quoted(request.repository_name)}; expected none"
            )
        ready = self.is_ready()
        if request.ready and not ready:
            return pb.RepositoryIndexResponse()
        index = pb.RepositoryIndexResponse.ModelIndex(name=self.model.name, version=self.model.version)
        index.state, index.reason = ("READY", "") if ready else ("UNAVAILABLE", "the server is draining")
        return pb.RepositoryIndexResponse(models=[index])


def model_config(model: ModelInfo, settings: ServeSettings) -> pb.ModelConfig:
    """How the server batches, queues and runs the model, in Triton's terms."""
    gpu = model.provider == CUDA
    parameters = {"precision": model.precision, "provider": model.provider}
    return pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=BACKEND,
        version_policy=pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1)),
        max_batch_size=settings.max_batch_size,
        input=[pb.ModelInput(name=INPUT, data_type=pb.TYPE_UINT8, dims=[28, 28])],
        output=[
            pb.ModelOutput(name=o.name, data_type=pb.DataType.Value(f"TYPE_{o.datatype}"), dims=[o.columns])
            for o in model.outputs
        ],
        dynamic_batching=pb.ModelDynamicBatching(
            max_queue_delay_microseconds=settings.max_queue_delay_microseconds,
            priority_levels=settings.priority_levels,
            default_priority_level=settings.default_level,
            default_queue_policy=pb.ModelQueuePolicy(
                timeout_action=pb.ModelQueuePolicy.REJECT,
                default_timeout_microseconds=settings.default_timeout_microseconds,
                allow_timeout_override=True,
                max_queue_size=settings.max_queue_size,
            ),
        ),
        instance_group=[
            pb.ModelInstanceGroup(
                name=model.name,
                kind=pb.ModelInstanceGroup.KIND_GPU if gpu else pb.ModelInstanceGroup.KIND_CPU,
                count=settings.instances,
            )
        ],
        default_model_filename=model.file,
        parameters={name: pb.ModelParameter(string_value=value) for name, value in parameters.items()},
    )
