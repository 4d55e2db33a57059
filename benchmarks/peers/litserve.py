"""LitServe, as its documentation has one write a server, with raw bytes for JSON, gathered for at most 1 ms.

Run by the peer's interpreter, not by ours: `server.py HOST PORT`, beside its model.onnx.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import Body, Response
from litserve import LitAPI, LitServer
from numpy.typing import NDArray

MODEL = Path(__file__).with_name("model.onnx")
Pixels = Annotated[bytes, Body(media_type="application/octet-stream")]


class Classifier(LitAPI):  # type: ignore[misc] # LitServe is not installed here
    def setup(self, _device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Pixels) -> NDArray[np.uint8]:
        return np.frombuffer(request, np.uint8).reshape(-1, 28, 28)

    def batch(self, inputs: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        self._ends = np.cumsum([len(images) for images in inputs])[:-1]
        return np.concatenate(inputs)

    def predict(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._session.run(["probabilities"], {"pixels": x})[0]
        return rows

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return np.split(output, self._ends)

    def encode_response(self, output: NDArray[np.float32]) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = LitServer(Classifier(max_batch_size=64, batch_timeout=0.001, api_path="/classify"), accelerator="cpu")
    server.run(host=sys.argv[1], port=int(sys.argv[2]), generate_client_file=False, access_log=False)
