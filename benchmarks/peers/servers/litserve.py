"""LitServe, as its documentation writes a server, with raw bytes instead of JSON, batched for at most 1 ms.

Run by the peer's interpreter: `server.py HOST PORT`.
"""

import sys
from typing import Annotated, Any

import numpy as np
from fastapi import Body, Response
from litserve import LitAPI, LitServer
from numpy.typing import NDArray
from onnx_model import OnnxModel, split

Pixels = Annotated[bytes, Body(media_type="application/octet-stream")]


class Classifier(LitAPI):  # type: ignore[misc] # LitServe is not installed here
    def setup(self, _device: str) -> None:
        self._model = OnnxModel()

    def decode_request(self, request: Pixels) -> NDArray[np.uint8]:
        return np.frombuffer(request, np.uint8).reshape(-1, 28, 28)

    def batch(self, inputs: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        self._inputs = inputs
        return np.concatenate(inputs)

    def predict(self, x: NDArray[np.uint8]) -> Any:
        return self._model(x)

    def unbatch(self, output: NDArray[np.float32]) -> Any:
        return split(output, self._inputs)

    def encode_response(self, output: NDArray[np.float32]) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = LitServer(Classifier(max_batch_size=64, batch_timeout=0.001, api_path="/classify"), accelerator="cpu")
    server.run(host=sys.argv[1], port=int(sys.argv[2]), generate_client_file=False, access_log=False)
