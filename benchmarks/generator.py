"""Load of our own: calls over several connections, in a closed loop or at given times, each answer looked at.

In the closed loop a stream calls again as soon as it is answered. In the open loop calls are sent when they are to be,
whether or not others wait, and a call's time counts from then: a server that stalls is seen to by every call that it
would have had meanwhile (G. Tene, "How NOT to Measure Latency": coordinated omission). What the generator itself is
late by is told beside it.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.latency import latency_us
from digits.storage.deferred_signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from numpy.typing import NDArray

    Unary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]

TIMEOUT = 30.0  # seconds of a call
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED}  # nothing that a load is to go on after
OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # or channels of one address would share a connection
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
]


@dataclass(frozen=True, slots=True)
class Request:
    """A unary call, ready to be sent.

    Attributes:
        method: Such as /digits.v1.DigitClassifier/Classify.
        message: As it goes over the wire.
        is_right: Whether a reply is as it has to be.
        images: In it.
    """

    method: str
    message: bytes
    is_right: Callable[[bytes], bool]
    images: int = 1


@dataclass(slots=True)
class Traffic:
    """What came of a load. Times are seconds from its beginning, of the calls that were answered, in that order.

    Attributes:
        intended: When each was to be sent; in the closed loop, when it was.
        sent: When it was.
        done: When it was answered.
        images: In all of them.
        failed: Those that were not answered, by status.
        seconds: From the beginning to the last answer.
    """

    intended: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    images: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def calls_per_second(self) -> float:
        """That were answered."""
        return len(self.done) / self.seconds if self.done else 0.0

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Seconds of each call that was answered, from when it was to be sent."""
        return np.subtract(self.done, self.intended)

    @property
    def lateness(self) -> NDArray[np.float64]:
        """Seconds that each call was sent late: the generator's own part of the latencies."""
        return np.subtract(self.sent, self.intended)

    def numbers(self) -> dict[str, object]:
        """A repeat of a measurement, as it is written down."""
        return {
            "calls": len(self.done),
            "calls_per_second": round(self.calls_per_second, 1),
            "images_per_second": round(self.images / self.seconds if self.done else 0.0, 1),
            "failed": dict(self.failed),
            "latency_us": latency_us(self.latencies) if self.done else None,
            "sent_late_us": latency_us(self.lateness) if self.done else None,
        }


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """When calls come that know nothing of each other, `rate` a second in the mean: seconds, ascending, [n]."""
    rng = np.random.default_rng(seed)
    count = int(rate * seconds + 10 * (rate * seconds) ** 0.5 + 10)  # more than ever come
    times = np.cumsum(rng.exponential(1 / rate, count))
    return times[times < seconds]


def closed_loop(
    address: str, requests: Sequence[Request], *, connections: int, streams: int = 1, seconds: float
) -> Traffic:
    """Keeps `streams` calls going on each connection, which take the requests in turn.

    Raises:
        BenchmarkError: the server is gone, or an answer is wrong.
    """

    async def load(caller: _Caller) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(connections * streams):
                group.create_task(caller.again_and_again(number, seconds))

    return _run(address, requests, connections, load)


def open_loop(address: str, requests: Sequence[Request], arrivals: NDArray[np.float64], *, connections: int) -> Traffic:
    """Sends a call at each of these times, seconds ascending [n], and waits for all answers.

    Raises:
        BenchmarkError: the server is gone, or an answer is wrong.
    """

    async def load(caller: _Caller) -> None:
        async with asyncio.TaskGroup() as group:
            for number, intended in enumerate(arrivals.tolist()):
                await asyncio.sleep(max(0.0, intended - caller.now()))
                group.create_task(caller.call(number, intended))

    return _run(address, requests, connections, load)


class _Caller:
    """Calls over connections of its own, and what came of them."""

    def __init__(self, calls: Sequence[Sequence[Unary]], requests: Sequence[Request]) -> None:
        self._calls = calls  # by connection and request
        self._requests = requests
        self._began = time.perf_counter()
        self.traffic = Traffic()

    def now(self) -> float:
        """Seconds from the beginning."""
        return time.perf_counter() - self._began

    async def again_and_again(self, stream: int, seconds: float) -> None:
        number = stream
        while (now := self.now()) < seconds:
            await self.call(number, now, connection=stream)
            number += 1

    async def call(self, number: int, intended: float, connection: int | None = None) -> None:
        place = number % len(self._requests)
        request, traffic = self._requests[place], self.traffic
        call = self._calls[(number if connection is None else connection) % len(self._calls)][place]
        sent = self.now()
        try:
            reply = await call(request.message, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            if code in GONE:
                raise BenchmarkError(f"the server is gone after {len(traffic.done):,} calls: {said(error)}") from error
            traffic.failed[code.name] += 1
            return
        if not request.is_right(reply):
            raise BenchmarkError(
                f"a wrong answer to {request.images} images, after {len(traffic.done):,} right answers"
            )
        traffic.intended.append(intended)
        traffic.sent.append(sent)
        traffic.done.append(self.now())
        traffic.images += request.images


def said(error: grpc.aio.AioRpcError) -> str:
    """A status in one line."""
    return f"{error.code().name}: {' '.join(str(error.details()).split())}"


def _run(
    address: str, requests: Sequence[Request], connections: int, load: Callable[[_Caller], Coroutine[None, None, None]]
) -> Traffic:
    # Raised in one of gRPC's callbacks, a signal's exception would abort the process: it cancels the load instead.
    with deferred() as interruption, asyncio.Runner(loop_factory=_loop) as runner:
        loop = runner.get_loop()
        task = loop.create_task(_loaded(address, requests, connections, load))
        interruption.act = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return runner.run(_result(task))
        except* BenchmarkError as group:
            raise group.exceptions[0] from None


async def _result(task: asyncio.Task[Traffic]) -> Traffic:
    return await task


def _loop() -> asyncio.SelectorEventLoop:
    """Waits by select(2), to the microsecond; epoll, which asyncio takes by itself, waits to the millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _connect(address: str, call: Unary, request: Request) -> None:
    """Makes one call, so that the load finds its connection there."""
    try:
        reply = await call(request.message, timeout=TIMEOUT)
    except grpc.aio.AioRpcError as error:
        raise BenchmarkError(f"{address} does not answer: {said(error)}") from error
    if not request.is_right(reply):
        raise BenchmarkError(f"{address}: a wrong answer to {request.images} images")


async def _loaded(
    address: str, requests: Sequence[Request], connections: int, load: Callable[[_Caller], Coroutine[None, None, None]]
) -> Traffic:
    async with AsyncExitStack() as stack:
        calls: list[list[Unary]] = []
        for _ in range(connections):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, OPTIONS))
            calls.append([channel.unary_unary(request.method) for request in requests])
        await asyncio.gather(*(_connect(address, one[0], requests[0]) for one in calls))
        gc.collect()
        gc.disable()
        try:
            caller = _Caller(calls, requests)
            await load(caller)
        finally:
            gc.enable()
        caller.traffic.seconds = caller.now()
        return caller.traffic
