"""`Client.stream`: a pipeline that is fed and emptied by the caller's thread, and a thread that reads."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

import grpc

from digits.client.pipeline import GOODBYE
from digits.client.pixels import pixels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from digits.client.pipeline import Pipeline
    from digits.client.pixels import Images, Pixels
    from digits.client.predictions import Predictions
    from digits.images.arrays import PixelRange
    from digits.protos.digits.v1.digits_pb2 import ClassifyStreamRequest, ClassifyStreamResponse

    Method = Callable[[Iterator[ClassifyStreamRequest]], "Answers"]
    Cut = Callable[[Pixels, float], list[Pixels]]

LONGEST = 3600.0  # seconds in one wait


class Answers(Protocol):
    """The answers of a call, as gRPC gives them."""

    def __iter__(self) -> Iterator[ClassifyStreamResponse]: ...

    def cancel(self) -> bool: ...


class Ended:
    """The last of what a call gives: its status, None if it ended well."""

    def __init__(self, error: grpc.RpcError | None) -> None:
        self.error = error


class StreamCall:
    """One call of ClassifyStream: a queue of requests, and a thread that puts all that comes back in another one."""

    def __init__(self, method: Method, incoming: SimpleQueue[ClassifyStreamResponse | Ended]) -> None:
        self._requests: SimpleQueue[ClassifyStreamRequest | None] = SimpleQueue()
        self._call = method(iter(self._requests.get, None))
        self._incoming = incoming
        self._reader = threading.Thread(target=self._read, name="digits-stream", daemon=True)
        self._reader.start()

    def send(self, request: ClassifyStreamRequest) -> None:
        self._requests.put(request)

    def end(self) -> None:
        """Says that no more requests come, and waits for the server's end."""
        self._requests.put(None)
        self._reader.join(GOODBYE)

    def close(self) -> None:
        """Leaves no thread and no call behind, whatever the server does."""
        self._call.cancel()
        self._requests.put(None)  # gRPC's own thread waits for it
        self._reader.join()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._incoming.put(answer)
        except grpc.RpcError as error:
            self._incoming.put(Ended(error))
        else:
            self._incoming.put(Ended(None))


class Stream:
    """The items of one `Client.stream` on their way: over one call, or one after another if they break."""

    def __init__(self, pipeline: Pipeline, method: Method, cut: Cut, pixel_range: PixelRange) -> None:
        """Opens nothing yet.

        Args:
            pipeline: Holds the items.
            method: Makes a call.
            cut: Gives the parts of some images, until a deadline.
            pixel_range: What the floats of items are.
        """
        self._pipeline = pipeline
        self._method = method
        self._cut = cut
        self._pixel_range = pixel_range
        self._call: StreamCall | None = None
        self._incoming: SimpleQueue[ClassifyStreamResponse | Ended] = SimpleQueue()
        self._drawn = False  # all of them
        self._broken: Exception | None = None  # what the source ended with

    def answers(self, items: Iterable[Images]) -> Generator[Predictions | Exception, None, None]:
        source = iter(items)
        try:
            while True:
                yield from self._pipeline.finished()
                if self._pipeline.has_room and not self._drawn:
                    self._draw(source)
                    self._exchange(wait=False)
                elif not self._pipeline.is_empty:
                    self._exchange(wait=True)
                else:
                    break
            if self._call and not self._pipeline.gave_up:
                self._call.end()
        finally:
            self._hang_up()
        if self._broken:
            raise self._broken

    def _draw(self, source: Iterator[Images]) -> None:
        try:
            with self._pipeline.clock.stopped():
                item = next(source)
        except StopIteration:
            self._drawn = True
        except Exception as error:  # noqa: BLE001 the caller's own: raised when what came before is handed out
            self._drawn, self._broken = True, error
        else:
            self._add(item)

    def _add(self, item: Images) -> None:
        pipeline = self._pipeline
        drawn = time.monotonic()
        try:
            pipeline.add(drawn, self._cut(pixels_of(item, self._pixel_range), pipeline.deadline()))
        except Exception as error:  # noqa: BLE001 of this item alone: the pipeline raises it in its turn
            pipeline.add_failed(error)

    def _exchange(self, *, wait: bool) -> None:
        """Sends what is due and takes what has come, or waits for it."""
        for request in self._pipeline.due():
            self._call = self._call or StreamCall(self._method, self._incoming)
            self._call.send(request)
        with suppress(Empty):
            event = self._incoming.get(timeout=min(self._pipeline.wait(), LONGEST) if wait else 0)
            while True:
                self._take(event)
                event = self._incoming.get_nowait()
        self._pipeline.expire()

    def _take(self, event: ClassifyStreamResponse | Ended) -> None:
        if isinstance(event, Ended):
            self._hang_up()
            self._pipeline.broke(event.error)
        else:
            self._pipeline.take(event)

    def _hang_up(self) -> None:
        if self._call:
            self._call.close()
            self._call = None
