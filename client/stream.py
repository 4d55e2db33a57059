"""`Client.stream`: the caller's thread draws items and hands out answers, and a few threads make the calls."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from digits.client.pipeline import images
from digits.client.pixels import pixels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import grpc

    from digits.client.pipeline import Item, Pipeline
    from digits.client.pixels import Images, Pixels
    from digits.client.predictions import Predictions
    from digits.images.arrays import PixelRange

    Ask = Callable[[Pixels, float, "Stream"], Predictions]

A = TypeVar("A")


class Stream:
    """One stream of items and its calls.

    Attributes:
        closed: Set when it has ended, with its calls.
    """

    def __init__(self, pipeline: Pipeline, ask: Ask, pixel_range: PixelRange, threads: int) -> None:
        """Starts nothing yet.

        Args:
            pipeline: Holds the items.
            ask: Gives the answers to some images, until a deadline; it makes its calls by `result`.
            pixel_range: What the floats of items are.
            threads: Most calls that run concurrently.
        """
        self.closed = threading.Event()
        self._pipeline = pipeline
        self._ask = ask
        self._pixel_range = pixel_range
        self._calls: set[grpc.Future[Any]] = set()
        self._lock = threading.Lock()
        self._added = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._threads = [
            threading.Thread(target=self._work, name=f"digits-stream-{i}", daemon=True) for i in range(threads)
        ]

    def answers(self, items: Iterable[Images]) -> Generator[Predictions | Exception, None, None]:
        source, drawing = iter(items), True
        try:
            for thread in self._threads:
                thread.start()
            while drawing or not self._pipeline.is_empty:
                yield from self._pipeline.finished()
                if drawing and self._pipeline.has_room:
                    drawing = self._draw(source)
                elif not self._pipeline.is_empty:
                    with self._lock:
                        self._settled.wait_for(lambda: self._pipeline.is_ready or self.closed.is_set())
        finally:
            self.close()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()

    def result(self, call: grpc.Future[A]) -> A:
        """Waits for the response to a call, which ends with the stream."""
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

    def _draw(self, source: Iterator[Images]) -> bool:
        """Whether there was another item."""
        try:
            item = next(source)
        except StopIteration:
            return False
        except Exception as error:  # noqa: BLE001 the caller's own: raised when what came before is handed out
            self._pipeline.add_error(error, ends=True)
            return False
        started = time.monotonic()
        try:
            pixels = pixels_of(item, self._pixel_range)
        except Exception as error:  # noqa: BLE001 of this item alone: raised in its turn
            self._pipeline.add_error(error)
            return True
        with self._lock:
            self._pipeline.add(pixels, started)
            self._added.notify()
        return True

    def _work(self) -> None:
        while taken := self._take():
            outcome: Predictions | Exception
            try:
                outcome = self._ask(images(taken), taken[0].deadline, self)
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
