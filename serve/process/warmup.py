"""The warm-up: when the server is ready, the first call is as fast as the thousandth."""

import logging
import time
from collections.abc import Iterator

import grpc

from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2
from digits.serve.errors import StartError
from digits.serve.job import IMAGE_BYTES
from digits.serve.services import CLASSIFY, MODEL_INFER
from digits.serve.settings import ServeSettings

CALLS = 32  # of one image: about as many as it takes until they are no faster
PATIENCE = 5.0  # seconds of all calls
BUSY = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}  # not a fault of the server
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]

log = logging.getLogger(__name__)


def warm_up(address: str, model: str, settings: ServeSettings) -> None:
    """Calls the server itself over the network: calls of 1, 2, 4, ... images, and many of one.

    First calls are slow: memory is not mapped, threads have not started, code has not run. If the time is over, as on a
    busy machine, or the queue is full, the rest is left out with a warning. Raises StartError: a call gets any other
    status: the server cannot be reached, or does not work.
    """
    end = time.monotonic() + PATIENCE
    with grpc.insecure_channel(address, OPTIONS) as channel:
        try:
            for method, message in _calls(model, settings):
                call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
                call(message, timeout=max(0.0, end - time.monotonic()))
        except grpc.RpcError as error:
            what = f"{error.code().name}: {' '.join((error.details() or '').split())}"
            if error.code() not in BUSY:
                raise StartError(f"the server does not answer its own call at {address}: {what}") from error
            log.warning("not warmed up: %s", what)


def _calls(model: str, settings: ServeSettings) -> Iterator[tuple[str, bytes]]:
    most = max(1, min(settings.max_batch_size, settings.max_message_bytes // 2 // IMAGE_BYTES))
    once = bool(settings.max_queue_delay_microseconds)  # each batch with room would wait so long
    for size in [*(2**power for power in range(0 if once else most.bit_length() - 1)), most]:
        pixels = bytes(size * IMAGE_BYTES)
        yield CLASSIFY, digits_pb2.ClassifyRequest(pixels=pixels, include_probabilities=size > 1).SerializeToString()
    tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="pixels", datatype="UINT8", shape=[1, 28, 28])
    infer = inference_pb2.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[bytes(IMAGE_BYTES)])
    for _ in range(0 if once else CALLS):
        yield CLASSIFY, digits_pb2.ClassifyRequest(pixels=bytes(IMAGE_BYTES)).SerializeToString()
        yield MODEL_INFER, infer.SerializeToString()
