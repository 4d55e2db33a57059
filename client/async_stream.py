"""`AsyncClient.stream`: one task draws the items, a few make the calls, and the caller's task hands out the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any

from digits.client.pipeline import images
from digits.client.pixels import pixels_off_the_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from digits.client.pipeline import Pipeline
    from digits.client.pixels import Images, Pixels
    from digits.client.predictions import Predictions
    from digits.images.arrays import PixelRange


class AsyncStream:
    """One stream of items and its calls."""

    def __init__(
        self,
        pipeline: Pipeline,
        ask: Callable[[Pixels, float], Awaitable[Predictions]],
        pixel_range: PixelRange,
        tasks: int,
    ) -> None:
        """Starts nothing yet.

        Args:
            pipeline: Holds the items.
            ask: Gives the answers to some images, until a deadline.
            pixel_range: What the floats of items are.
            tasks: Most calls that run concurrently.
        """
        self._pipeline = pipeline
        self._ask = ask
        self._pixel_range = pixel_range
        self._most = tasks
        self._workers = set[asyncio.Task[None]]()
        self._settled = asyncio.Event()
        self._room = asyncio.Event()

    async def answers(self, items: Iterable[Images] | AsyncIterable[Images]) -> AsyncGenerator[Any, None]:
        drawer = asyncio.create_task(self._draw(items))
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
            tasks = [drawer, *self._workers]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
        if len(self._workers) < self._most:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        self._settled.set()
        while not self._pipeline.has_room:
            self._room.clear()
            await self._room.wait()

    async def _work(self) -> None:
        """Makes calls until no item waits."""
        while taken := self._pipeline.take():
            try:
                outcome: Predictions | Exception = await self._ask(images(taken), taken[0].deadline)
            except Exception as error:  # noqa: BLE001 raised in the caller's task
                outcome = error
            self._pipeline.settle(taken, outcome)
            self._settled.set()
        self._settled.set()  # items whose time is over
