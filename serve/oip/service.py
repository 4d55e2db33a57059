"""The Open Inference Protocol but for `ModelInfer`: what the server is, whether it is ready, what it has done."""

from collections.abc import Callable
from importlib import metadata
from typing import Any

from google.protobuf.message import DecodeError, Message

from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.errors import InvalidRequest, NotFound
from digits.serve.oip.model_config import PLATFORM, model_config
from digits.serve.oip.model_info import INPUT, ModelInfo, quoted
from digits.serve.oip.model_statistics import model_statistics
from digits.serve.settings import ServeSettings
from digits.serve.statistics import Statistics

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
EXTENSIONS = ("classification", "schedule_policy", "model_configuration", "statistics")  # as Triton names them
Tensor = pb.ModelMetadataResponse.TensorMetadata


class InferenceService:
    """Answers each of these methods: a message for a message.

    Attributes:
        methods: By name: what parses the request, and what answers it.
    """

    def __init__(
        self, model: ModelInfo, settings: ServeSettings, statistics: Statistics, is_ready: Callable[[], bool]
    ) -> None:
        self._model = model
        self._settings = settings
        self._statistics = statistics
        self._is_ready = is_ready
        self._metadata = pb.ServerMetadataResponse(
            name="digits", version=metadata.version("digits-serving"), extensions=EXTENSIONS
        )
        self.methods: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Message]]] = {
            "ServerLive": (pb.ServerLiveRequest.FromString, self.server_live),
            "ServerReady": (pb.ServerReadyRequest.FromString, self.server_ready),
            "ModelReady": (pb.ModelReadyRequest.FromString, self.model_ready),
            "ServerMetadata": (pb.ServerMetadataRequest.FromString, self.server_metadata),
            "ModelMetadata": (pb.ModelMetadataRequest.FromString, self.model_metadata),
            "ModelConfig": (pb.ModelConfigRequest.FromString, self.model_config),
            "ModelStatistics": (pb.ModelStatisticsRequest.FromString, self.model_statistics),
            "RepositoryIndex": (pb.RepositoryIndexRequest.FromString, self.repository_index),
        }

    def answer(self, method: str, message: bytes) -> bytes:
        """The response to a method of `methods`, bytes for bytes.

        Raises:
            InvalidRequest: not a request of this method, or one for what the server does not do.
            NotFound: for another model, or another version.
        """
        parse, respond = self.methods[method]
        try:
            request = parse(message)
        except DecodeError as error:
            raise InvalidRequest(f"the message is not an inference.{method}Request: {error}") from error
        return respond(request).SerializeToString()

    def server_live(self, _request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def server_ready(self, _request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._is_ready())

    def model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """As with Triton, a model that is not here is not ready, and no error."""
        try:
            self._model.require(request.name, request.version)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._is_ready())

    def server_metadata(self, _request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return self._metadata

    def model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        self._model.require(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=self._model.name,
            versions=[self._model.version],
            platform=PLATFORM,
            inputs=[Tensor(name=INPUT, datatype="UINT8", shape=[-1, 28, 28])],
            outputs=[Tensor(name=o.name, datatype=o.datatype, shape=[-1, o.columns]) for o in self._model.outputs],
        )

    def model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        self._model.require(request.name, request.version)
        return pb.ModelConfigResponse(config=model_config(self._model, self._settings))

    def model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        self._model.require(request.name or self._model.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=[model_statistics(self._model, self._statistics.totals())])

    def repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        if request.repository_name:
            raise InvalidRequest(
                f"'repository_name' specification is not supported: {quoted(request.repository_name)}; expected none"
            )
        index = pb.RepositoryIndexResponse.ModelIndex(name=self._model.name, version=self._model.version)
        if self._is_ready():
            index.state = "READY"
        elif request.ready:
            return pb.RepositoryIndexResponse()
        else:
            index.state, index.reason = "UNAVAILABLE", "the server is draining"
        return pb.RepositoryIndexResponse(models=[index])
