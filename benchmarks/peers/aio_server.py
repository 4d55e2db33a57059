"""The baseline, a server as one writes it first: grpc.aio, the generated servicer, and one run of fp32 for each call.

`python -m digits.benchmarks.peers.aio_server HOST:PORT`
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import numpy as np

from digits.model.engine import Engine
from digits.model.manifest import FP32
from digits.model.repository import open_repository
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc


class Classifier(digits_pb2_grpc.DigitClassifierServicer):
    def __init__(self) -> None:
        self._engine = Engine(open_repository(None).open().file(FP32), provider="cpu", threads=1)

    async def Classify(  # noqa: N802 the contract's name
        self,
        request: digits_pb2.ClassifyRequest,
        context: grpc.aio.ServicerContext[digits_pb2.ClassifyRequest, digits_pb2.ClassifyResponse],
    ) -> digits_pb2.ClassifyResponse:
        if not request.pixels or len(request.pixels) % 784:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "pixels must be a positive multiple of 784 bytes")
        rows = self._engine.run(np.frombuffer(request.pixels, np.uint8).reshape(-1, 28, 28))
        digits, confidences = rows.argmax(axis=1).tolist(), rows.max(axis=1).tolist()
        return digits_pb2.ClassifyResponse(digits=digits, confidences=confidences, batch_size=len(rows))


async def main(address: str) -> None:
    server = grpc.aio.server()
    digits_pb2_grpc.add_DigitClassifierServicer_to_server(Classifier(), server)  # type: ignore[abstract] # one method
    server.add_insecure_port(address)
    await server.start()
    print("baseline: ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
