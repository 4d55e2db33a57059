"""MLServer's custom runtime, in its own process, without its adaptive batching, which took longer.

Run by the peer's interpreter, not by ours: `server.py HOST PORT HTTP_PORT`, beside its model.onnx.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

MODEL = Path(__file__).with_name("model.onnx")


class Classifier(MLModel):  # type: ignore[misc] # MLServer is not installed here
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        pixels = NumpyCodec.decode_input(payload.inputs[0])
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels * np.float32(255)).astype(np.uint8)
        (rows,) = self._session.run(["probabilities"], {"pixels": pixels})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", rows)])


async def main(host: str, port: int, http_port: int) -> None:
    settings = Settings(
        host=host, grpc_port=port, http_port=http_port, metrics_endpoint=None, parallel_workers=0, debug=False
    )
    model = ModelSettings(name="digits", implementation=Classifier)
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
