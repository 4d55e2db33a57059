"""The Python server of KServe: its model class behind its own gRPC servicer. It has no batching in the process.

Run by the peer's interpreter: `server.py HOST:PORT`.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from onnx_model import OnnxModel


class Classifier(Model):  # type: ignore[misc] # KServe is not installed here
    def load(self) -> bool:
        self._model = OnnxModel()
        self.ready = True
        return self.ready

    def predict(
        self, payload: InferRequest, _headers: object = None, _response_headers: object = None
    ) -> InferResponse:
        rows = self._model(payload.inputs[0].as_numpy())
        output = InferOutput("probabilities", list(rows.shape), "FP32")
        output.set_data_from_numpy(rows, binary_data=True)
        return InferResponse(payload.id, self.name, [output])


async def main(address: str) -> None:
    model, models = Classifier("digits"), ModelRepository()
    model.load()
    models.update(model)
    # As its ModelServer does, which would listen on all interfaces, and for HTTP too.
    server = grpc.aio.server(interceptors=(LoggingInterceptor(), ExceptionToStatusInterceptor()))
    servicer = InferenceServicer(DataPlane(models), ModelRepositoryExtension(models))
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
