"""LitServe, as its documentation writes a server, with raw bytes instead of JSON, batched for at most 1 ms.

Run by the peer's interpreter: `server.py HOST PORT`.
"""

import sys
from typing import Annotated

import numpy as np
from fastapi import Body, Response
from litserve import LitAPI, LitServer
from onnx_model import Array, OnnxModel, images, split

Pixels = Annotated[bytes, Body(media_type="application/octet-stream")]


class Classifier(LitAPI):  # type: ignore[misc] # LitServe is not installed here
    def setup(self, _device: str) -> None:
        self._model = OnnxModel()

    def decode_request(self, request: Pixels) -> Array:
        return images(request)

    def batch(self, inputs: list[Array]) -> Array:
        self._inputs = inputs
        return np.concatenate(inputs)

    def predict(self, x: Array) -> Array:
        return self._model(x)

    def unbatch(self, output: Array) -> Array:
        return split(output, self._inputs)

    def encode_response(self, output: Array) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = LitServer(Classifier(max_batch_size=64, batch_timeout=0.001, api_path="/classify"), accelerator="cpu")
    server.run(host=sys.argv[1], port=int(sys.argv[2]), generate_client_file=False, access_log=False)
