"""`stream` of both clients: threads or tasks that run a pipeline."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable, Iterator
from typing import Any

from digits.client.pipeline import Item, Pipeline, images
from digits.client.pixels import Images, pixels_of, pixels_off_the_loop
from digits.client.predictions import Predictions
from digits.images.arrays import PixelRange


class Stream:
    """The caller's thread draws items and hands out answers, and a few threads make the calls.

    Attributes:
        closed: Set when the stream has ended, with its calls.
    """

    def __init__(
        self, pipeline: Pipeline, ask: Callable[..., Predictions], pixel_range: PixelRange, threads: int
    ) -> None:
        """`ask` takes pixels, a deadline and this stream, and makes its calls by `result`."""
        self.closed = threading.Event()
        self._pipeline = pipeline
        self._ask = ask
        self._pixel_range = pixel_range
        self._calls = set[Any]()  # grpc.Future, those that run
        self._lock = threading.Lock()
        self._added = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def answers(self, items: Iterable[Images]) -> Generator[Any]:
        try:
            for thread in self._threads:
                thread.start()
            for _ in self._drawn(items):
                yield from self._finished(lambda: self._pipeline.has_room)
            yield from self._finished(lambda: self._pipeline.is_empty)
        finally:
            self.close()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()

    def result(self, call: Any) -> Any:
        """Waits for the response to a grpc.Future, which ends with the stream."""
        self._calls.add(call)
        if self.closed.is_set():
            call.cancel()
        try:
            return call.result()
        finally:
            self._calls.discard(call)

    def close(self) -> None:
        """Ends it, from any thread."""
        self.closed.set()
        for call in list(self._calls):
            call.cancel()
        with self._lock:
            self._added.notify_all()
            self._settled.notify_all()

    def _drawn(self, items: Iterable[Images]) -> Iterator[None]:
        """Adds an item, each time that it is asked."""
        try:
            for item in items:
                started = time.monotonic()
                try:
                    pixels = pixels_of(item, self._pixel_range)
                except Exception as error:  # noqa: BLE001 of this item alone: raised in its turn
                    self._pipeline.add_error(error)
                else:
                    with self._lock:
                        self._pipeline.add(pixels, started)
                        self._added.notify()
                yield
        except Exception as error:  # noqa: BLE001 the caller's own: raised when what came before is handed out
            self._pipeline.add_error(error, ends=True)

    def _finished(self, enough: Callable[[], bool]) -> Iterator[Any]:
        """Hands out answers: those that are there, and more until that is so."""
        yield from self._pipeline.finished()
        while not enough():
            with self._lock:
                self._settled.wait_for(lambda: self._pipeline.is_ready or self.closed.is_set())
            yield from self._pipeline.finished()

    def _work(self) -> None:
        while taken := self._take():
            try:
                outcome: Predictions | Exception = self._ask(images(taken), taken[0].deadline, self)
            except Exception as error:  # noqa: BLE001 raised in the caller's thread
                outcome = error
            with self._lock:
                self._pipeline.settle(taken, outcome)
                self._settled.notify()
                self._added.notify()  # items that are asked for again

    def _take(self) -> list[Item]:
        """Waits for items to ask for; empty when the stream is closed."""
        with self._lock:
            while not self.closed.is_set():
                if taken := self._pipeline.take():
                    return taken
                self._settled.notify()  # items whose time is over
                self._added.wait()
        return []


class AsyncStream:
    """One task draws the items, a few make the calls, and the caller's task hands out the answers."""

    def __init__(
        self, pipeline: Pipeline, ask: Callable[..., Awaitable[Predictions]], pixel_range: PixelRange, tasks: int
    ) -> None:
        """`ask` takes pixels and a deadline."""
        self._pipeline = pipeline
        self._ask = ask
        self._pixel_range = pixel_range
        self._count = tasks
        self._added = asyncio.Event()
        self._settled = asyncio.Event()
        self._room = asyncio.Event()

    async def answers(self, items: Iterable[Images] | AsyncIterable[Images]) -> AsyncGenerator[Any]:
        drawer, *workers = map(asyncio.create_task, (self._draw(items), *(self._work() for _ in range(self._count))))
        try:
            while True:
                for outcome in self._pipeline.finished():
                    self._room.set()
                    yield outcome
                if drawer.done() and self._pipeline.is_empty:
                    break
                await self._settled.wait()
                self._settled.clear()
        finally:
            for task in (drawer, *workers):
                task.cancel()
            await asyncio.gather(drawer, *workers, return_exceptions=True)

    async def _draw(self, items: Iterable[Images] | AsyncIterable[Images]) -> None:
        try:
            if isinstance(items, AsyncIterable):
                async for item in items:
                    await self._add(item)
            else:
                for item in items:
                    await self._add(item)
        except Exception as error:  # noqa: BLE001 the caller's own: raised when what came before is handed out
            self._pipeline.add_error(error, ends=True)
        finally:
            self._settled.set()

    async def _add(self, item: Images) -> None:
        """Returns when there is room for the next item."""
        started = time.monotonic()
        try:
            self._pipeline.add(await pixels_off_the_loop(item, self._pixel_range), started)
        except Exception as error:  # noqa: BLE001 of this item alone: raised in its turn
            self._pipeline.add_error(error)
        self._added.set()
        self._settled.set()
        while not self._pipeline.has_room:
            self._room.clear()
            await self._room.wait()

    async def _work(self) -> None:
        while True:
            while taken := self._pipeline.take():
                try:
                    outcome: Predictions | Exception = await self._ask(images(taken), taken[0].deadline)
                except Exception as error:  # noqa: BLE001 raised in the caller's task
                    outcome = error
                self._pipeline.settle(taken, outcome)
                self._settled.set()
                self._added.set()  # items that are asked for again
            self._settled.set()  # items whose time is over
            self._added.clear()
            await self._added.wait()
