"""What a server of ours says of itself, by the Open Inference Protocol's statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.exchange import exchange
from digits.protos.inference.v2 import inference_pb2

if TYPE_CHECKING:
    ModelStatistics = inference_pb2.ModelStatistics

METHOD = "/inference.GRPCInferenceService/ModelStatistics"
TIMEOUT = 10.0  # seconds


def statistics(address: str) -> ModelStatistics:
    """Of its one model, since its start. Raises BenchmarkError if it does not answer, or otherwise than ours would."""
    request = inference_pb2.ModelStatisticsRequest().SerializeToString()
    try:
        reply = exchange(address, METHOD, request, None, TIMEOUT)
        (model,) = inference_pb2.ModelStatisticsResponse.FromString(reply).model_stats
    except BenchmarkError as error:
        raise BenchmarkError(f"{address} does not give its statistics: {error}") from error
    except (DecodeError, ValueError) as error:
        raise BenchmarkError(f"{address} gives no statistics of one model: {error}") from error
    return model
