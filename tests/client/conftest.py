"""Both clients behind one interface, and a server whose answers a test decides."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from digits.client import AsyncClient, Client
from digits.client.channel import SERVICE
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc


class BlockingAsyncClient:
    """An AsyncClient with the methods of a Client: each runs the client's event loop until it is done."""

    def __init__(self, address: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = AsyncClient(address, **options)
        self._calls = self.client._calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._runner.run(getattr(self.client, name)(*arguments, **options))

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        return self._answers(self.client.stream(*arguments, **options))

    def _answers(self, answers: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(answers, None)

        try:
            while (answer := self._runner.run(following())) is not None:
                yield answer
        finally:
            self._runner.run(answers.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


@pytest.fixture
def kinds() -> tuple[Any, Any]:
    return Client, BlockingAsyncClient


@pytest.fixture(params=[Client, BlockingAsyncClient], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a client of either kind."""
    made: Callable[..., Any] = request.param
    return made


class ScriptedServer:
    """A real gRPC server whose answers a test decides. Each image's digit is its first pixel.

    Attributes:
        address: Where it listens.
        calls: The images of each call of Classify so far, by their first pixels.
        asked: How often GetModel was called.
        preprocessing: The version of its preprocessing, as GetModel reports it.
        before: Is called before an answer, with the images of Classify, or none for GetModel. It may abort the call.
    """

    def __init__(self) -> None:
        self.address = ""
        self.calls: list[list[int]] = []
        self.asked = 0
        self.preprocessing = 0
        self.before: Callable[[list[int], grpc.ServicerContext], object] = lambda _images, _context: None

    def classify(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        pixels = digits_pb2.ClassifyRequest.FromString(request).pixels
        images = [int(first) for first in np.frombuffer(pixels, np.uint8)[::784]]
        self.calls.append(images)
        self.before(images, context)
        answer = digits_pb2.ClassifyResponse(digits=images, confidences=[1.0] * len(images), model_version="1")
        return answer.SerializeToString()

    def get_model(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        self.asked += 1
        self.before([], context)
        model = digits_pb2.GetModelResponse(version="7", preprocessing_version=self.preprocessing)
        return model.SerializeToString()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with ThreadPoolExecutor(8) as pool:
        server, script = grpc.server(pool), ScriptedServer()
        handlers: dict[str, Any] = {
            "Classify": grpc.unary_unary_rpc_method_handler(script.classify),
            "GetModel": grpc.unary_unary_rpc_method_handler(script.get_model),
        }
        server.add_registered_method_handlers(SERVICE, handlers)
        script.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield script
        server.stop(None).wait()


@pytest.fixture(scope="session")
def small(serving: Callable[..., Any], models: Any, transport: str) -> Iterator[Any]:
    """A server that takes 5 ms for a batch of at most 16 images, and lets one call wait."""
    limits = ("--max-batch-size", 16, "--max-queue-size", 1, "--slow-down-microseconds", 5_000)
    with serving("--models", models, "--precision", "int8", "--transport", transport, "--no-warmup", *limits) as server:
        yield server


@pytest.fixture(scope="session")
def refusals() -> Callable[[str, NDArray[np.uint8]], list[grpc.RpcError]]:
    """The refusals of a burst of 24 calls without this library, from a server that lets one wait."""

    def burst(address: str, digit: NDArray[np.uint8]) -> list[grpc.RpcError]:
        request = digits_pb2.ClassifyRequest(pixels=digit.tobytes())
        refused: list[grpc.RpcError] = []
        with grpc.insecure_channel(address) as channel:
            stub = digits_pb2_grpc.DigitClassifierStub(channel)
            while not refused:
                calls = [stub.Classify.future(request, timeout=60) for _ in range(24)]
                refused = [error for call in calls if isinstance(error := call.exception(), grpc.RpcError)]
        return refused

    return burst
