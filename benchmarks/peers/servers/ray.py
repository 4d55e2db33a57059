"""Ray Serve with our own contract on its gRPC proxy, batched for at most 1 ms.

Run by the peer's interpreter, which finds digits.protos next to it: `server.py PORT HTTP_PORT`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import ray
from onnx_model import OnnxModel, images
from ray import serve

from digits.protos.digits.v1.digits_pb2 import ClassifyRequest, ClassifyResponse

HERE = Path(__file__).parent
SERVICER = "digits.protos.digits.v1.digits_pb2_grpc.add_DigitClassifierServicer_to_server"


class Classifier:
    def __init__(self, model: str) -> None:
        self._model = OnnxModel(model)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)  # type: ignore[untyped-decorator] # not installed here
    async def Classify(self, requests: list[ClassifyRequest]) -> list[ClassifyResponse]:  # noqa: N802 the contract's name
        parts = self._model.batch([images(request.pixels) for request in requests])
        answers = ((part.argmax(axis=1).tolist(), part.max(axis=1).tolist()) for part in parts)
        return [ClassifyResponse(digits=digits, confidences=confidences) for digits, confidences in answers]


def listen_on_loopback() -> None:
    """Runs in each process of Ray: the gRPC servers of Serve listen on all interfaces and have no setting for it."""
    from grpc.aio._server import Server

    listen = Server.add_insecure_port

    def on_loopback(server: Server, address: str) -> int:
        return listen(server, address.replace("[::]", "127.0.0.1"))

    Server.add_insecure_port = on_loopback  # type: ignore[method-assign, assignment] # its parameter is named self


def main(port: int, http_port: int) -> None:
    hook = {"worker_process_setup_hook": listen_on_loopback}
    ray.init(include_dashboard=False, _temp_dir=str(HERE / "ray"), runtime_env=hook)
    over_grpc = {"port": port, "grpc_servicer_functions": [SERVICER]}
    serve.start(http_options={"host": "127.0.0.1", "port": http_port}, grpc_options=over_grpc)
    deployment = serve.deployment(max_ongoing_requests=256, logging_config={"enable_access_log": False})(Classifier)
    serve.run(deployment.bind(str(HERE / "model.onnx")))
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
