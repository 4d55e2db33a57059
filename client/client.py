"""The client for threads."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import grpc

from digits.client.calls import TIMEOUT, WINDOW, Asked, Calls, left
from digits.client.channel import options
from digits.client.pipeline import Pipeline
from digits.client.pixels import pixels_of
from digits.client.predictions import from_response, joined
from digits.client.stream import Stream
from digits.protos.digits.v1 import digits_pb2
from digits.protos.digits.v1.digits_pb2_grpc import DigitClassifierStub

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from digits.client.pixels import Images, Pixels
    from digits.client.predictions import Predictions
    from digits.images.arrays import PixelRange


T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")


class Client:
    """Classifies digits at a server, or at several behind one name. Safe to share between threads; a context manager.

    A call that no server takes is made again until its time is over, at another address if there is one; so a restart
    costs a wait, and no error. A server that is overloaded and says when to come back is asked again then.

    A copy, by pickle too, has the same address and options, and connections of its own.

    Example:
        with Client("localhost:50051") as client:
            predictions = client.classify("digit.png")
    """

    def __init__(
        self, address: str, *, timeout: float = TIMEOUT, channels: int = 1, wait_for_ready: bool = True
    ) -> None:
        """Connects at the first call, and to the server itself: a proxy in the environment is passed by.

        Args:
            address: HOST:PORT, unix:PATH, or any other target of gRPC's, such as dns:///NAME:PORT or
                ipv4:ADDRESS:PORT,ADDRESS:PORT; all addresses of a name are used in turn.
            timeout: Seconds that a call may take in all, retries included, unless it says otherwise. They start when
                its pictures are read. `math.inf` is no limit: not for a server that is away either.
            channels: Connections to each address, used in turn: for when a single one is the limit.
            wait_for_ready: Whether a call waits for a server that is away. If not, UnavailableError comes at once.

        Raises:
            AddressError: no server can have that address. It is a ValueError.
            ValueError: no channel at all.
        """
        self._calls = Calls(address, timeout, channels, wait_for_ready=wait_for_ready)
        self._channels = [grpc.insecure_channel(address, options(address)) for _ in range(channels)]
        # Stubs are made once: to make one on a closed channel would end the interpreter.
        self._stubs = itertools.cycle([DigitClassifierStub(channel) for channel in self._channels])
        self._lock = threading.Lock()
        self._streams = weakref.WeakSet[Stream[Any]]()
        self._check: Any = None  # the health's, made by the first `ready`

    def classify(
        self,
        images: Images,
        *,
        pixel_range: PixelRange = "0-1",
        include_probabilities: bool = False,
        priority: int = 0,
        timeout: float | None = None,
    ) -> Predictions:
        """Classifies one or many digits.

        What exceeds the server's limits is cut, and the parts are sent side by side; for that, the server is asked for
        its limits at the first call with more than one image.

        Args:
            images: An array, whose background is 0 and whose ink is the upper end, in any shape and type of
                `digits.images.arrays`; a picture file's path, or its content as bytes; or a sequence of single images.
                A bytearray or memoryview is raw pixels. Pictures become digits here.
            pixel_range: What floats are, "0-1" or "0-255". It says nothing of other types.
            include_probabilities: Whether all ten probabilities are wanted.
            priority: 1 goes before 2 and so on; 0 is the server's default.
            timeout: Seconds, instead of the client's.

        Raises:
            ValueError: an array is none of these.
            PictureError: a file is no picture of one digit; the text says which.
            OSError: a file cannot be read.
            ClientError: the server did not answer, or the client is closed: see `digits.client.errors`.
        """
        self._calls.require_open()
        started = time.monotonic()
        pixels = pixels_of(images, pixel_range)
        deadline = self._calls.deadline(timeout)
        asked = Asked(include_probabilities, priority)
        parts = self._parts(pixels, deadline)
        if len(parts) == 1:  # without threads
            return from_response(self._call(next(self._stubs).Classify, asked.request(pixels), deadline), started)
        pipeline = Pipeline(self._calls, lambda: deadline, window=WINDOW)
        return joined(list(self._stream(pipeline, asked, lambda part: part, parts)), started)

    @overload
    def stream(
        self,
        items: Iterable[Images],
        *,
        pixel_range: PixelRange = ...,
        include_probabilities: bool = ...,
        priority: int = ...,
        timeout: float | None = ...,
        return_exceptions: Literal[False] = ...,
        window: int = ...,
    ) -> Generator[Predictions, None, None]: ...

    @overload
    def stream(
        self,
        items: Iterable[Images],
        *,
        pixel_range: PixelRange = ...,
        include_probabilities: bool = ...,
        priority: int = ...,
        timeout: float | None = ...,
        return_exceptions: bool,
        window: int = ...,
    ) -> Generator[Predictions | Exception, None, None]: ...

    def stream(
        self,
        items: Iterable[Images],
        *,
        pixel_range: PixelRange = "0-1",
        include_probabilities: bool = False,
        priority: int = 0,
        timeout: float | None = None,
        return_exceptions: bool = False,
        window: int = WINDOW,
    ) -> Generator[Predictions | Exception, None, None]:
        """Classifies many items, and yields one answer for each, in their order.

        Items that are drawn while calls are under way share the next call, so a fast source makes few large calls, and
        an item of a slow source is sent at once. Items are drawn in the caller's thread. So with a window of more than
        1, an answer is handed out when the next item was drawn, at the latest when the window is full; a window of 1
        waits for each answer before it draws the next item. Calls are retried as those of `classify`. If the server
        refuses a call, its items are asked for again, one by one. Closed early, a stream ends its calls; to be sure of
        the moment, use `contextlib.closing`.

        Args:
            items: Each what `classify` takes, and split as there.
            pixel_range: As in `classify`.
            include_probabilities: As in `classify`.
            priority: As in `classify`.
            timeout: Seconds that each item's answer may take, instead of the client's.
            return_exceptions: Whether the error of an item is yielded in its place, instead of being raised there.
            window: Most items that are drawn and not yet handed out. A call takes at most half of them.

        Raises:
            ValueError, PictureError, OSError, ClientError: as `classify`, where the item's turn has come. What ends the
                stream itself, such as ClosedError or an exception of `items`, is raised in any case.
        """
        pipeline = Pipeline(
            self._calls, partial(self._calls.deadline, timeout), window=window, return_exceptions=return_exceptions
        )
        asked = Asked(include_probabilities, priority)
        return self._stream(pipeline, asked, partial(pixels_of, pixel_range=pixel_range), items)

    def model(self, *, timeout: float | None = None) -> digits_pb2.GetModelResponse:
        """The model that answers, its evidence, and the server's limits. Raises ClientError."""
        return self._model(self._calls.deadline(timeout))

    def ready(self, timeout: float = 1.0) -> bool:
        """Whether a server is there and takes calls, by gRPC's health protocol; False within so many seconds if not.

        Raises:
            ClosedError: the client is closed.
        """
        from digits.client import health

        try:
            with self._calls.begun():
                return health.is_serving(self._health_check()(health.CHECK, timeout=timeout))
        except grpc.RpcError:
            self._calls.require_open()
            return False

    def close(self) -> None:
        """Ends all calls and connections. Calls that are under way, and later ones, raise ClosedError."""
        with self._lock:  # no stub is made from here on
            self._calls.closed.set()
            streams = list(self._streams)
        for stream in streams:
            stream.close()
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        return self._calls.remake(type(self))

    def _health_check(self) -> Any:
        from digits.client import health

        with self._lock:
            self._calls.require_open()
            self._check = self._check or health.check_of(self._channels[0])
            return self._check

    def _stream(
        self, pipeline: Pipeline, asked: Asked, read: Callable[[T], Pixels], items: Iterable[T]
    ) -> Generator[Any, None, None]:
        stream = Stream(pipeline, partial(self._ask, asked), read, self._calls.most_concurrent)
        with self._lock:
            self._calls.require_open()
            self._streams.add(stream)
        return stream.answers(items)

    def _ask(self, asked: Asked, pixels: Pixels, deadline: float, stream: Stream[Any]) -> Predictions:
        """The answers to images of a stream, by one request if the server takes them so."""
        started = time.monotonic()
        parts = [
            from_response(self._call(next(self._stubs).Classify, asked.request(part), deadline, stream), started)
            for part in self._parts(pixels, deadline, stream)
        ]
        return parts[0] if len(parts) == 1 else joined(parts, started)

    def _model(self, deadline: float, stream: Stream[Any] | None = None) -> digits_pb2.GetModelResponse:
        return self._call(next(self._stubs).GetModel, digits_pb2.GetModelRequest(), deadline, stream)

    def _parts(self, pixels: Pixels, deadline: float, stream: Stream[Any] | None = None) -> list[Pixels]:
        """The images as the server takes them."""
        if self._calls.wants_limits(pixels):
            self._calls.limits = self._model(deadline, stream).limits
        return self._calls.parts(pixels)

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Q, A],
        request: Q,
        deadline: float,
        stream: Stream[Any] | None = None,
    ) -> A:
        """The response, after as many tries as it takes. A call of a stream ends with it. Raises ClientError."""
        tries = 0
        while True:
            try:
                with self._calls.begun():
                    if stream is None:
                        return method(request, timeout=left(deadline))
                    return stream.result(method.future(request, timeout=left(deadline)))
            except grpc.RpcError as error:
                for pause in self._calls.pauses(error, deadline, tries):
                    (stream or self._calls).closed.wait(pause)
                    self._calls.require_open()
            tries += 1
