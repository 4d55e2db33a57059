"""`AsyncClient.stream`: a pipeline that one task fills, one empties, and the caller's task hands out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterable
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from digits.client.event_loop import is_cancelled, off_the_loop
from digits.client.pipeline import GOODBYE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable

    from digits.client.pipeline import Pipeline
    from digits.client.pixels import Images, Pixels
    from digits.client.predictions import Predictions
    from digits.images.arrays import PixelRange
    from digits.protos.digits.v1.digits_pb2 import ClassifyStreamRequest, ClassifyStreamResponse

    Call = grpc.aio.StreamStreamCall[ClassifyStreamRequest, ClassifyStreamResponse]
    Method = Callable[[AsyncIterator[ClassifyStreamRequest]], Call]
    Cut = Callable[[Pixels, float], Awaitable[list[Pixels]]]


class AsyncStreamCall:
    """One call of ClassifyStream, and the queue of its requests."""

    def __init__(self, method: Method) -> None:
        self._requests: asyncio.Queue[ClassifyStreamRequest | None] = asyncio.Queue()
        self.answers = method(self._sent())

    def send(self, request: ClassifyStreamRequest) -> None:
        self._requests.put_nowait(request)

    def end(self) -> None:
        """Says that no more requests come."""
        self._requests.put_nowait(None)

    async def _sent(self) -> AsyncIterator[ClassifyStreamRequest]:
        while request := await self._requests.get():
            yield request


class AsyncStream:
    """The items of one `AsyncClient.stream` on their way: over one call, or one after another if they break."""

    def __init__(self, pipeline: Pipeline, method: Method, cut: Cut, pixel_range: PixelRange, window: int) -> None:
        """Opens nothing yet.

        Args:
            pipeline: Holds the items.
            method: Makes a call.
            cut: Gives the parts of some images, until a deadline.
            pixel_range: What the floats of items are.
            window: Most items that are drawn and not yet handed out.
        """
        self._pipeline = pipeline
        self._method = method
        self._cut = cut
        self._pixel_range = pixel_range
        self._room = asyncio.Semaphore(window)
        self._changed = asyncio.Event()
        self._call: AsyncStreamCall | None = None
        self._reader: asyncio.Task[None] | None = None
        self._failed: Exception | None = None  # what ends the stream at once
        self._broken: Exception | None = None  # what the source ended with

    async def answers(
        self, items: Iterable[Images] | AsyncIterable[Images]
    ) -> AsyncGenerator[Predictions | Exception, None]:
        drawer = asyncio.create_task(self._draw(_asynchronous(items)))
        try:
            while True:
                for outcome in self._pipeline.finished():
                    self._room.release()
                    yield outcome
                if drawer.done() and self._pipeline.is_empty:
                    break
                await self._change()
            await self._say_goodbye()
        finally:
            await self._hang_up(drawer)
        if self._broken:
            raise self._broken

    async def _change(self) -> None:
        """Waits until there may be something to hand out. Raises what ends the stream."""
        with suppress(TimeoutError):
            wait = self._pipeline.wait()
            async with asyncio.timeout(None if wait == math.inf else wait):
                await self._changed.wait()
        self._changed.clear()
        if self._failed:
            raise self._failed
        self._pipeline.expire()
        self._send()

    async def _draw(self, source: AsyncIterator[Images]) -> None:
        try:
            while await self._room.acquire():
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    break
                except Exception as error:  # noqa: BLE001 the caller's own: raised when what came before is handed out
                    self._broken = error
                    break
                await self._add(item)
                self._send()
                self._changed.set()
        except Exception as error:  # noqa: BLE001 raised by the caller's task
            self._failed = error
        finally:
            self._changed.set()

    async def _add(self, item: Images) -> None:
        drawn = time.monotonic()
        try:
            pixels = await off_the_loop(item, self._pixel_range)
            self._pipeline.add(drawn, await self._cut(pixels, self._pipeline.deadline()))
        except Exception as error:  # noqa: BLE001 of this item alone: the pipeline raises it in its turn
            self._pipeline.add_failed(error)

    def _send(self) -> None:
        """Sends what is due, on a new call if there is none."""
        for request in self._pipeline.due():
            if self._call is None:
                self._call = AsyncStreamCall(self._method)
                self._reader = asyncio.create_task(self._read(self._call))
            self._call.send(request)

    async def _read(self, call: AsyncStreamCall) -> None:
        try:
            status = await self._read_all(call)
            call.end()  # a task of gRPC's waits for requests
            self._call = None
            self._pipeline.broke(status)
            self._send()
        except Exception as error:  # noqa: BLE001 raised by the caller's task
            self._failed = error
        finally:
            self._changed.set()

    async def _read_all(self, call: AsyncStreamCall) -> grpc.RpcError | None:
        """Gives the status of a call that has not ended well."""
        try:
            async for answer in call.answers:
                self._pipeline.take(answer)
                self._changed.set()
        except grpc.RpcError as error:
            return error
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED)
        return None

    async def _say_goodbye(self) -> None:
        """Lets the server end the stream."""
        if self._call and self._reader and not self._pipeline.gave_up:
            self._call.end()
            await asyncio.wait([self._reader], timeout=GOODBYE)

    async def _hang_up(self, drawer: asyncio.Task[None]) -> None:
        """Leaves no task and no call behind, whatever the server does."""
        tasks = [drawer, *([self._reader] if self._reader else [])]
        for task in tasks:
            task.cancel()
        if self._call:
            self._call.answers.cancel()
            self._call.end()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _asynchronous(items: Iterable[Images] | AsyncIterable[Images]) -> AsyncIterator[Images]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
