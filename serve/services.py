"""What each method does with the bytes of a call: the same for every transport, which only carries them."""

from collections.abc import Callable
from functools import partial

from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2
from digits.serve import classify
from digits.serve.errors import CallError, Draining
from digits.serve.job import Request
from digits.serve.oip import infer
from digits.serve.oip.model_info import ModelInfo
from digits.serve.oip.service import InferenceService
from digits.serve.settings import ServeSettings
from digits.serve.statistics import Statistics

DIGITS = digits_pb2.DESCRIPTOR.services_by_name["DigitClassifier"]
INFERENCE = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
CLASSIFY = f"/{DIGITS.full_name}/Classify"
MODEL_INFER = f"/{INFERENCE.full_name}/ModelInfer"


class Services:
    """The methods of `digits.v1.DigitClassifier` and `inference.GRPCInferenceService` by their full names."""

    def __init__(self, model: ModelInfo, description: bytes, settings: ServeSettings, statistics: Statistics) -> None:
        """`description` is the GetModelResponse."""
        self.model = model
        self.max_batch_size = most = settings.max_batch_size
        self.ready = False
        self.draining = False  # whether calls that run the model are refused
        self._default_timeout = settings.default_timeout_microseconds / 1e6
        self._statistics = statistics
        # The methods that run the model: each parses a call to a request, see `accept`.
        self.hot: dict[str, Callable[[bytes], Request]] = {
            CLASSIFY: lambda message: classify.parse(message, most),
            MODEL_INFER: lambda message: infer.parse(message, model, most),
        }
        inferences = InferenceService(model, settings, statistics, lambda: self.ready)
        # The other unary methods: each returns the response itself, or raises a CallError.
        self.cold: dict[str, Callable[[bytes], bytes]] = {
            f"/{INFERENCE.full_name}/{method}": partial(inferences.answer, method) for method in inferences.methods
        }
        self.cold[f"/{DIGITS.full_name}/GetModel"] = lambda _message: description

    def accept(self, parse: Callable[..., Request], *message: bytes) -> Request:
        """The request that a method's `parse` makes of a message. Raises a CallError."""
        if self.draining:
            raise Draining
        request = parse(*message)
        if self._default_timeout:
            request.timeout = min(request.timeout, self._default_timeout)
        return request

    def count(self, error: CallError) -> None:
        """Counts a call that got a status instead of an answer."""
        self._statistics.record_failure(error.reason)
