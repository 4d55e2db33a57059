"""The client for asyncio: the same methods, awaited."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, Unpack, overload

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from digits.client.calls import TIMEOUT, WINDOW, Calls, RequestOptions, StreamOptions, left
from digits.client.channel import HEALTH_CHECK, SERVING, channel_options
from digits.client.pipeline import Pipeline
from digits.client.pixels import Images, Picture, Pixels, has_pictures, pixels_off_the_loop, rows_of
from digits.client.predictions import Predictions, from_response, joined
from digits.client.reading import Reading, reading
from digits.client.stream import AsyncStream
from digits.images.arrays import PixelRange
from digits.protos.digits.v1 import digits_pb2
from digits.protos.digits.v1.digits_pb2_grpc import DigitClassifierStub

if TYPE_CHECKING:
    from digits.protos.digits.v1.digits_pb2_grpc import DigitClassifierAsyncStub

Items: TypeAlias = Iterable[Images] | AsyncIterable[Images]
Q = TypeVar("Q")
A = TypeVar("A")


class AsyncClient:
    """As `Client`, for asyncio: an asynchronous context manager, to be shared between the tasks of one event loop.

    It may be made anywhere, also before there is a loop. It belongs to the loop of its first call and does not work in
    another one, neither after the first has ended nor in another thread: make a client for each loop.

    Example:
        async with AsyncClient("localhost:50051") as client:
            predictions = await client.classify("digit.png")
    """

    def __init__(
        self, address: str, *, timeout: float = TIMEOUT, channels: int = 1, wait_for_ready: bool = True
    ) -> None:
        """As `Client`."""
        self._calls = Calls(address, timeout, channels, wait_for_ready=wait_for_ready)
        self._loop: asyncio.AbstractEventLoop | None = None  # of the first call
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: Iterator[DigitClassifierAsyncStub] = iter(())
        self._check_health: Any = None

    async def classify(
        self,
        images: Images,
        *,
        pixel_range: PixelRange = "0-1",
        include_probabilities: bool = False,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109 of the call, which the server is told
    ) -> Predictions:
        """As `Client.classify`. Pictures are read in a thread of the loop."""
        self._calls.require_open()
        started = time.monotonic()
        pixels = await pixels_off_the_loop(images, pixel_range)
        options = RequestOptions(include_probabilities, priority)
        return await self._classified(pixels, options, timeout, started, pictures=has_pictures(images))

    async def read(
        self,
        picture: Picture,
        *,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109 as above
    ) -> Reading:
        """As `Client.read`. The digits are found in a thread of the loop."""
        self._calls.require_open()
        started = time.monotonic()
        rows = await asyncio.to_thread(rows_of, picture)
        options = RequestOptions(include_probabilities=False, priority=priority)
        return reading(rows, await self._classified(rows.pixels(), options, timeout, started, pictures=True))

    @overload
    def stream(
        self, items: Items, *, return_exceptions: Literal[False] = ..., **options: Unpack[StreamOptions]
    ) -> AsyncGenerator[Predictions, None]: ...

    @overload
    def stream(
        self, items: Items, *, return_exceptions: bool, **options: Unpack[StreamOptions]
    ) -> AsyncGenerator[Predictions | Exception, None]: ...

    def stream(
        self,
        items: Items,
        *,
        pixel_range: PixelRange = "0-1",
        include_probabilities: bool = False,
        priority: int = 0,
        timeout: float | None = None,
        return_exceptions: bool = False,
        window: int = WINDOW,
    ) -> AsyncGenerator[Predictions | Exception, None]:
        """As `Client.stream`, for `async for`. Items may come from an asynchronous iterable too.

        Here a task draws the items, at most `window` ahead: an answer is handed out when it is there, even if the next
        item is not. To leave the loop early and be sure of the moment, use `contextlib.aclosing`.
        """
        pipeline = Pipeline(
            self._calls, partial(self._calls.deadline, timeout), window=window, return_exceptions=return_exceptions
        )
        return self._answers(pipeline, RequestOptions(include_probabilities, priority), pixel_range, items)

    async def model(self, *, timeout: float | None = None) -> digits_pb2.GetModelResponse:  # noqa: ASYNC109 as above
        """As `Client.model`."""
        return await self._model(self._calls.deadline(timeout))

    async def ready(self, timeout: float = 1.0) -> bool:  # noqa: ASYNC109 as above
        """As `Client.ready`."""
        self._stub()
        try:
            with self._calls.begun():
                return bool((await self._check_health(HEALTH_CHECK, timeout=timeout)).status == SERVING)
        except grpc.RpcError:
            self._calls.require_open()
            return False

    async def close(self) -> None:
        """As `Client.close`."""
        self._calls.closed.set()
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        return self._calls.remake(type(self))

    def _stub(self) -> "DigitClassifierAsyncStub":
        """That of the next channel; the first call makes them all, in its loop."""
        loop = asyncio.get_running_loop()
        self._calls.require_open()
        if self._loop is None:
            self._loop = loop
            address, options = self._calls.address, channel_options(self._calls.address)
            self._channels = [grpc.aio.insecure_channel(address, options) for _ in range(self._calls.channels)]
            self._stubs = itertools.cycle([DigitClassifierStub(channel) for channel in self._channels])
            self._check_health = HealthStub(self._channels[0]).Check
        if self._loop is not loop:
            raise RuntimeError(
                "the client belongs to another event loop, that of its first call; make one for each loop"
            )
        return next(self._stubs)

    async def _classified(
        self,
        pixels: Pixels,
        options: RequestOptions,
        timeout: float | None,  # noqa: ASYNC109 as above
        started: float,
        *,
        pictures: bool,
    ) -> Predictions:
        """The answers to images, and whether some were pictures."""
        deadline = self._calls.deadline(timeout)
        parts = await self._parts(pixels, deadline, pictures=pictures)
        if len(parts) == 1:  # without a task
            return from_response(await self._call(self._stub().Classify, options.request(pixels), deadline), started)
        pipeline = Pipeline(self._calls, lambda: deadline, window=WINDOW)
        answers = self._answers(pipeline, options, "0-1", parts)
        return joined([answer async for answer in answers], started)

    def _answers(
        self, pipeline: Pipeline, options: RequestOptions, pixel_range: PixelRange, items: Items
    ) -> AsyncGenerator[Any, None]:
        stream = AsyncStream(pipeline, partial(self._ask, options), pixel_range, self._calls.most_concurrent)
        return stream.answers(items)

    async def _ask(self, options: RequestOptions, pixels: Pixels, deadline: float) -> Predictions:
        """The answers to images of a stream: by one call, unless they exceed the limits."""
        started = time.monotonic()
        parts = [
            from_response(await self._call(self._stub().Classify, options.request(part), deadline), started)
            for part in await self._parts(pixels, deadline)
        ]
        return parts[0] if len(parts) == 1 else joined(parts, started)

    async def _model(self, deadline: float) -> digits_pb2.GetModelResponse:
        model = await self._call(self._stub().GetModel, digits_pb2.GetModelRequest(), deadline)
        return self._calls.described(model)

    async def _parts(self, pixels: Pixels, deadline: float, *, pictures: bool = False) -> list[Pixels]:
        """The images as the server takes them, and whether some were pictures."""
        if (pictures or len(pixels) > 1) and self._calls.limits is None:
            self._calls.limits = (await self._model(deadline)).limits
        return self._calls.parts(pixels)

    async def _call(self, method: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q, deadline: float) -> A:
        """The response, after as many tries as it takes. Raises ClientError."""
        tries = 0
        while True:
            try:
                with self._calls.begun():
                    return await method(request, timeout=left(deadline))
            except grpc.RpcError as error:
                for pause in self._calls.pauses(error, deadline, tries):
                    await asyncio.sleep(pause)
            tries += 1
