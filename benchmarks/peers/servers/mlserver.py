"""A custom runtime of MLServer, in its own process, without its adaptive batching, which took longer.

Run by the peer's interpreter: `server.py HOST PORT HTTP_PORT`.
"""

from __future__ import annotations

import asyncio
import sys

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Classifier(MLModel):  # type: ignore[misc] # MLServer is not installed here
    async def load(self) -> bool:
        self._model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self._model(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", rows)])


async def main(host: str, port: int, http_port: int) -> None:
    settings = Settings(
        host=host, grpc_port=port, http_port=http_port, metrics_endpoint=None, parallel_workers=0, debug=False
    )
    model = ModelSettings(name="digits", implementation=Classifier)
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
