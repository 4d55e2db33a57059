"""What each method does with the bytes of a call: the same for every transport, which only carries them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2
from digits.serve import classify
from digits.serve.errors import Draining, MessageTooLarge
from digits.serve.oip import infer

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.serve.errors import CallError
    from digits.serve.job import Request
    from digits.serve.oip.model_info import ModelInfo
    from digits.serve.oip.service import InferenceService
    from digits.serve.settings import ServeSettings
    from digits.serve.statistics import Statistics

DIGITS = digits_pb2.DESCRIPTOR.services_by_name["DigitClassifier"]
INFERENCE = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
CLASSIFY = f"/{DIGITS.full_name}/Classify"
MODEL_INFER = f"/{INFERENCE.full_name}/ModelInfer"


class Services:
    """The methods of `digits.v1.DigitClassifier` and `inference.GRPCInferenceService` by their full names.

    Attributes:
        hot: Those that ask the model; `accept` gives what a call of theirs asks.
        cold: The others; each gives the response itself, or raises a CallError.
        draining: Whether calls that ask the model are refused.
    """

    def __init__(
        self,
        description: bytes,
        inferences: InferenceService,
        model: ModelInfo,
        statistics: Statistics,
        settings: ServeSettings,
    ) -> None:
        self._max_message_bytes = settings.max_message_bytes
        self._default_timeout = settings.default_timeout_microseconds / 1e6
        self._statistics = statistics
        self.draining = False
        self.hot: dict[str, Callable[[bytes], Request]] = {
            CLASSIFY: lambda message: classify.parse(message, settings.max_batch_size),
            MODEL_INFER: lambda message: infer.parse(message, model, settings.max_batch_size),
        }
        self.cold: dict[str, Callable[[bytes], bytes]] = {
            f"/{INFERENCE.full_name}/{method}": partial(inferences.answer, method) for method in inferences.methods
        }
        self.cold[f"/{DIGITS.full_name}/GetModel"] = lambda _message: description

    def accept(self, parse: Callable[[bytes], Request], message: bytes) -> Request:
        """What a call of a hot method asks, by that method's way to parse it. Raises a CallError."""
        if self.draining:
            raise Draining("the server is draining; try another one")
        if len(message) > self._max_message_bytes:
            raise MessageTooLarge(len(message), self._max_message_bytes)
        request = parse(message)
        if self._default_timeout:
            request.timeout = min(request.timeout, self._default_timeout)
        return request

    def count(self, error: CallError) -> None:
        """Counts a call that got a status instead of an answer."""
        self._statistics.record_failure(error.reason)
