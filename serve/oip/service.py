"""The Open Inference Protocol's other methods: what the server is, whether it is ready, what it has done."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

from google.protobuf.message import DecodeError, Message

from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.errors import InvalidRequest, NotFound
from digits.serve.oip.model_config import PLATFORM, model_config
from digits.serve.oip.model_info import INPUT, ModelInfo, quoted
from digits.serve.settings import ServeSettings
from digits.serve.statistics import Statistics

EXTENSIONS = ("classification", "schedule_policy", "model_configuration", "statistics")  # as Triton names them
Tensor = pb.ModelMetadataResponse.TensorMetadata
Duration = pb.StatisticDuration


class InferenceService:
    """Answers each of these methods: a message for a message.

    Attributes:
        methods: What answers a request, by the method's name.
    """

    def __init__(
        self, model: ModelInfo, settings: ServeSettings, statistics: Statistics, is_ready: Callable[[], bool]
    ) -> None:
        self._model = model
        self._settings = settings
        self._statistics = statistics
        self._is_ready = is_ready
        about = pb.ServerMetadataResponse(
            name="digits", version=metadata.version("digits-serving"), extensions=EXTENSIONS
        )
        self.methods: dict[str, Callable[[Any], Message]] = {
            "ServerLive": lambda _: pb.ServerLiveResponse(live=True),
            "ServerReady": lambda _: pb.ServerReadyResponse(ready=is_ready()),
            "ServerMetadata": lambda _: about,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
        }

    def answer(self, method: str, message: bytes) -> bytes:
        """The response to a method of `methods`, bytes for bytes.

        Raises:
            InvalidRequest: not a request of this method, or one for what the server does not do.
            NotFound: for another model, or another version.
        """
        try:
            request = getattr(pb, f"{method}Request").FromString(message)
        except DecodeError as error:
            raise InvalidRequest(f"the message is not an inference.{method}Request: {error}") from error
        return self.methods[method](request).SerializeToString()

    def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """As with Triton, an unknown model is not ready, and not an error."""
        try:
            self._model.require(request.name, request.version)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._is_ready())

    def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        self._model.require(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=self._model.name,
            versions=[self._model.version],
            platform=PLATFORM,
            inputs=[Tensor(name=INPUT, datatype="UINT8", shape=[-1, 28, 28])],
            outputs=[Tensor(name=o.name, datatype=o.datatype, shape=[-1, o.columns]) for o in self._model.outputs],
        )

    def _model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        self._model.require(request.name, request.version)
        return pb.ModelConfigResponse(config=model_config(self._model, self._settings))

    def _model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        """A call's time is that in the queue and that of its whole batch. What comes before and after is not timed."""
        self._model.require(request.name or self._model.name, request.version)
        totals = self._statistics.totals()
        untimed = Duration(count=totals.calls)
        statistics = pb.ModelStatistics(
            name=self._model.name,
            version=self._model.version,
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
        ready = self._is_ready()
        if request.ready and not ready:
            return pb.RepositoryIndexResponse()
        index = pb.RepositoryIndexResponse.ModelIndex(name=self._model.name, version=self._model.version)
        index.state, index.reason = ("READY", "") if ready else ("UNAVAILABLE", "the server is draining")
        return pb.RepositoryIndexResponse(models=[index])
