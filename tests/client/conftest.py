"""Both clients behind one interface, and a server whose answers a test decides."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import grpc
import numpy as np
import pytest

from digits.client import AsyncClient, Client
from digits.client.channel import SERVICE
from digits.protos.digits.v1 import digits_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class BlockingAsyncClient:
    """An AsyncClient with the methods of a Client: each runs the client's event loop until it is done."""

    def __init__(self, address: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = AsyncClient(address, **options)
        self._calls = self.client._calls

    def classify(self, *arguments: Any, **options: Any) -> Any:
        return self._runner.run(self.client.classify(*arguments, **options))

    def model(self, **options: Any) -> Any:
        return self._runner.run(self.client.model(**options))

    def ready(self, **options: Any) -> Any:
        return self._runner.run(self.client.ready(**options))

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        return self._answers(self.client.stream(*arguments, **options))

    def _answers(self, answers: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(answers)

        try:
            while True:
                try:
                    yield self._runner.run(following())
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(answers.aclose())

    def close(self) -> None:
        self._runner.run(self.client.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._runner.close()


@pytest.fixture(params=[Client, BlockingAsyncClient], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client of either kind."""
    made: Callable[..., Any] = request.param
    return made


class ScriptedServer:
    """A real gRPC server whose answers a test decides. Each image's digit is its first pixel.

    Attributes:
        address: Where it listens.
        model: What GetModel answers.
        calls: The images of each call of Classify so far, by their first pixels.
        before: Is called with each of these before it is answered; may abort the call.
    """

    def __init__(self) -> None:
        self.address = ""
        self.model = digits_pb2.GetModelResponse()
        self.calls: list[list[int]] = []
        self.before: Callable[[list[int], grpc.ServicerContext], object] = lambda _images, _context: None
        self.get_model: Callable[[grpc.ServicerContext], object] = lambda _context: None

    def classify(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        pixels = digits_pb2.ClassifyRequest.FromString(request).pixels
        images = [int(first) for first in np.frombuffer(pixels, np.uint8)[::784]]
        self.calls.append(images)
        self.before(images, context)
        answer = digits_pb2.ClassifyResponse(digits=images, confidences=[1.0] * len(images), model_version="1")
        return answer.SerializeToString()

    def describe(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        self.get_model(context)
        return self.model.SerializeToString()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with ThreadPoolExecutor(8) as pool:
        server, answers = grpc.server(pool), ScriptedServer()
        handlers: dict[str, Any] = {
            "Classify": grpc.unary_unary_rpc_method_handler(answers.classify),
            "GetModel": grpc.unary_unary_rpc_method_handler(answers.describe),
        }
        server.add_registered_method_handlers(SERVICE, handlers)
        answers.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield answers
        server.stop(None).wait()
