"""KServe's Python server: its model class behind its own gRPC servicer. It has no batching of its own in the process.

Run by the peer's interpreter, not by ours: `server.py HOST:PORT`, beside its model.onnx.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

MODEL = Path(__file__).with_name("model.onnx")


class Classifier(Model):  # type: ignore[misc] # KServe is not installed here
    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.ready = True
        return self.ready

    def predict(
        self, payload: InferRequest, _headers: object = None, _response_headers: object = None
    ) -> InferResponse:
        pixels = payload.inputs[0].as_numpy()
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels * np.float32(255)).astype(np.uint8)
        (rows,) = self._session.run(["probabilities"], {"pixels": pixels})
        output = InferOutput("probabilities", list(rows.shape), "FP32")
        output.set_data_from_numpy(rows, binary_data=True)
        return InferResponse(payload.id, self.name, [output])


async def main(address: str) -> None:
    model, models = Classifier("digits"), ModelRepository()
    model.load()
    models.update(model)
    # What its ModelServer does, which would listen on all interfaces, and for HTTP too.
    server = grpc.aio.server(interceptors=(LoggingInterceptor(), ExceptionToStatusInterceptor()))
    servicer = InferenceServicer(DataPlane(models), ModelRepositoryExtension(models))
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
