"""The client for threads."""

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Literal, Self, TypeVar, Unpack, overload

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub

from digits.client.calls import TIMEOUT, WINDOW, Calls, RequestOptions, StreamOptions, left
from digits.client.channel import HEALTH_CHECK, SERVING, channel_options
from digits.client.pipeline import Pipeline
from digits.client.pixels import Images, Picture, Pixels, has_pictures, pixels_of, rows_of
from digits.client.predictions import Predictions, from_response, joined
from digits.client.reading import Reading, reading
from digits.client.stream import Stream
from digits.images.arrays import PixelRange
from digits.protos.digits.v1 import digits_pb2
from digits.protos.digits.v1.digits_pb2_grpc import DigitClassifierStub

Q = TypeVar("Q")
A = TypeVar("A")


class Client:
    """Classifies digits at a server, or at several behind one name. Safe to share between threads; a context manager.

    A call that no server takes is retried until its time is over, at another address if there is one; so a restart
    costs a wait, and no error. A server that is overloaded and says when to come back is asked again then.

    A copy, by pickle too, has the same address and options, and connections of its own.

    Example:
        with Client("localhost:50051") as client:
            predictions = client.classify("digit.png")
    """

    def __init__(
        self, address: str, *, timeout: float = TIMEOUT, channels: int = 1, wait_for_ready: bool = True
    ) -> None:
        """Connects at the first call, and to the server itself: proxies of the environment are not used.

        Args:
            address: HOST:PORT, unix:PATH, or any other target of gRPC, such as dns:///NAME:PORT or
                ipv4:ADDRESS:PORT,ADDRESS:PORT; all addresses of a name are used in turn.
            timeout: Seconds that a call may take, retries included, unless it says otherwise. They start when its
                pictures are read. `math.inf` is no limit, also while no server is there.
            channels: Connections to each address, used in turn: for when a single one is the limit.
            wait_for_ready: Whether a call waits for a server that is away. If not, UnavailableError comes at once.

        Raises:
            AddressError: no server can have that address. It is a ValueError.
            ValueError: there is no channel.
        """
        self._calls = Calls(address, timeout, channels, wait_for_ready=wait_for_ready)
        self._channels = [grpc.insecure_channel(address, channel_options(address)) for _ in range(channels)]
        # Stubs are made once: to make one on a closed channel would end the interpreter.
        self._stubs = itertools.cycle([DigitClassifierStub(channel) for channel in self._channels])
        self._check_health = HealthStub(self._channels[0]).Check
        self._lock = threading.Lock()
        self._streams = weakref.WeakSet[Stream]()

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

        Images that exceed the server's limits are split, and the parts are sent concurrently. For that, the server is
        asked for its limits at the first call with a picture or more than one image. If its preprocessing has another
        version than this client's, a warning is logged then, once.

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
            PictureError: a file is not a picture of one digit; the text says which.
            OSError: a file cannot be read.
            ClientError: the server did not answer, or the client is closed: see `digits.client.errors`.
        """
        self._calls.require_open()
        started = time.monotonic()
        pixels = pixels_of(images, pixel_range)
        options = RequestOptions(include_probabilities, priority)
        return self._classified(pixels, options, timeout, started, pictures=has_pictures(images))

    def read(self, picture: Picture, *, priority: int = 0, timeout: float | None = None) -> Reading:
        """Reads the digits of a picture in rows: of a phone number, a form or a sheet; or a single one.

        The digits are found here, and all are sent in one call. Printed lines and frames are removed.

        Args:
            picture: A picture file's path, or its content as bytes.
            priority: As in `classify`, like the next one.
            timeout: As there.

        Raises:
            PictureError: the file is not a picture, or there are no digits.
            OSError, ClientError: as `classify`.
        """
        self._calls.require_open()
        started = time.monotonic()
        rows = rows_of(picture)
        options = RequestOptions(include_probabilities=False, priority=priority)
        return reading(rows, self._classified(rows.pixels(), options, timeout, started, pictures=True))

    @overload
    def stream(
        self, items: Iterable[Images], *, return_exceptions: Literal[False] = ..., **options: Unpack[StreamOptions]
    ) -> Generator[Predictions, None, None]: ...

    @overload
    def stream(
        self, items: Iterable[Images], *, return_exceptions: bool, **options: Unpack[StreamOptions]
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

        Items that are drawn while calls run share the next call, so a fast source makes few large calls, and an item of
        a slow source is sent at once. Items are drawn in the caller's thread. So with a window of more than 1, an
        answer is handed out when the next item was drawn, at the latest when the window is full; a window of 1 waits
        for each answer before it draws the next item. Calls are retried as those of `classify`. If the server refuses a
        call, its items are asked for again, one by one. Closed early, a stream ends its calls; to be sure of the
        moment, use `contextlib.closing`.

        Args:
            items: Each what `classify` takes, and split as there.
            pixel_range: As in `classify`, like the next two.
            include_probabilities: As there.
            priority: As there.
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
        return self._answers(pipeline, RequestOptions(include_probabilities, priority), pixel_range, items)

    def model(self, *, timeout: float | None = None) -> digits_pb2.GetModelResponse:
        """The model that answers, its evidence, and the server's limits. Raises ClientError."""
        return self._model(self._calls.deadline(timeout))

    def ready(self, timeout: float = 1.0) -> bool:
        """Whether a server is there and takes calls, by gRPC's health protocol; False within so many seconds if not.

        Raises:
            ClosedError: the client is closed.
        """
        try:
            with self._calls.begun():
                return bool(self._check_health(HEALTH_CHECK, timeout=timeout).status == SERVING)
        except grpc.RpcError:
            self._calls.require_open()
            return False

    def close(self) -> None:
        """Ends all calls and connections. Calls that are running, and later ones, raise ClosedError."""
        with self._lock:
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

    def _classified(
        self, pixels: Pixels, options: RequestOptions, timeout: float | None, started: float, *, pictures: bool
    ) -> Predictions:
        """The answers to images, and whether some were pictures."""
        deadline = self._calls.deadline(timeout)
        parts = self._parts(pixels, deadline, pictures=pictures)
        if len(parts) == 1:  # without threads
            return from_response(self._call(next(self._stubs).Classify, options.request(pixels), deadline), started)
        pipeline = Pipeline(self._calls, lambda: deadline, window=WINDOW)
        return joined(list(self._answers(pipeline, options, "0-1", parts)), started)

    def _answers(
        self, pipeline: Pipeline, options: RequestOptions, pixel_range: PixelRange, items: Iterable[Images]
    ) -> Generator[Any, None, None]:
        stream = Stream(pipeline, partial(self._ask, options), pixel_range, self._calls.most_concurrent)
        with self._lock:
            self._calls.require_open()
            self._streams.add(stream)
        return stream.answers(items)

    def _ask(self, options: RequestOptions, pixels: Pixels, deadline: float, stream: Stream) -> Predictions:
        """The answers to images of a stream: by one call, unless they exceed the limits."""
        started = time.monotonic()
        parts = [
            from_response(self._call(next(self._stubs).Classify, options.request(part), deadline, stream), started)
            for part in self._parts(pixels, deadline, stream)
        ]
        return parts[0] if len(parts) == 1 else joined(parts, started)

    def _model(self, deadline: float, stream: Stream | None = None) -> digits_pb2.GetModelResponse:
        model = self._call(next(self._stubs).GetModel, digits_pb2.GetModelRequest(), deadline, stream)
        return self._calls.described(model)

    def _parts(
        self, pixels: Pixels, deadline: float, stream: Stream | None = None, *, pictures: bool = False
    ) -> list[Pixels]:
        """The images as the server takes them, and whether some were pictures."""
        if (pictures or len(pixels) > 1) and self._calls.limits is None:
            self._calls.limits = self._model(deadline, stream).limits
        return self._calls.parts(pixels)

    def _call(
        self, method: "grpc.UnaryUnaryMultiCallable[Q, A]", request: Q, deadline: float, stream: Stream | None = None
    ) -> A:
        """The response, after as many tries as it takes. The end of a stream ends its calls. Raises ClientError."""
        tries = 0
        while True:
            try:
                with self._calls.begun():
                    if stream is None:
                        return method(request, timeout=left(deadline))
                    answer: A = stream.result(method.future(request, timeout=left(deadline)))
                    return answer
            except grpc.RpcError as error:
                for pause in self._calls.pauses(error, deadline, tries):
                    if (stream or self._calls).closed.wait(pause):
                        raise self._calls.failure("CANCELLED", None) from error
            tries += 1
