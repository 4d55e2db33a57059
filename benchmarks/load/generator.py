"""A load generator of our own, which checks each answer: a closed loop, or calls sent at given times (open loop).

In the closed loop a stream sends its next call as soon as the last one is answered. In the open loop calls are sent at
their times whether or not others wait, and latencies count from these times. So a server that stalls is charged for
every call of that time (G. Tene, "How NOT to Measure Latency": coordinated omission). By how much the generator itself
was late is reported too.
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
from digits.benchmarks.load.call import latency_us, status_text
from digits.storage.deferred_signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from numpy.typing import NDArray

    from digits.benchmarks.load.call import Call

    Unary = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
    Load = Callable[["_Caller"], Coroutine[None, None, None]]

TIMEOUT = 30.0  # seconds of a call
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED}  # statuses that end the load
OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # otherwise channels of one address would share a connection
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
]


@dataclass(slots=True)
class Traffic:
    """The result of a load."""

    # Of each answered call, in the order of the answers: when it was to be sent, when it was sent, and when it was
    # answered, seconds from the beginning. In the closed loop the first two are the same.
    times: list[tuple[float, float, float]] = field(default_factory=list)
    images: int = 0  # in all answered calls
    failed: Counter[str] = field(default_factory=Counter)  # calls that were not answered, by status
    seconds: float = 1.0  # from the beginning to the last answer

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Seconds of each answered call, from when it was to be sent."""
        return np.array([answered - intended for intended, _, answered in self.times])

    def numbers(self) -> dict[str, object]:
        """A repeat of a measurement, as the JSON has it."""
        return {
            "calls": len(self.times),
            "calls_per_second": round(len(self.times) / self.seconds, 1),
            "images_per_second": round(self.images / self.seconds, 1),
            "failed": dict(self.failed),
            "latency_us": latency_us(self.latencies),
            "sent_late_us": latency_us([sent - intended for intended, sent, _ in self.times]),
        }


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """The times of independent calls, `rate` a second in the mean: seconds, ascending, [n]."""
    rng = np.random.default_rng(seed)
    count = int(rate * seconds + 10 * (rate * seconds) ** 0.5 + 10)  # more than ever come
    times = np.cumsum(rng.exponential(1 / rate, count))
    return times[times < seconds]


def closed_loop(address: str, calls: Sequence[Call], *, connections: int, streams: int = 1, seconds: float) -> Traffic:
    """Keeps `streams` calls in flight on each connection, and sends the given calls in turn.

    Raises BenchmarkError if the server is gone, or an answer is wrong.
    """

    async def load(caller: _Caller) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(connections * streams):
                group.create_task(caller.repeat(number, seconds))

    return _run(address, calls, connections, load)


def open_loop(address: str, calls: Sequence[Call], arrivals: NDArray[np.float64], *, connections: int) -> Traffic:
    """Sends a call at each of these times, seconds ascending [n], and waits for all answers.

    Raises BenchmarkError if the server is gone, or an answer is wrong.
    """

    async def load(caller: _Caller) -> None:
        async with asyncio.TaskGroup() as group:
            for number, intended in enumerate(arrivals.tolist()):
                await asyncio.sleep(max(0.0, intended - caller.now()))
                group.create_task(caller.call(number, intended, connection=number))

    return _run(address, calls, connections, load)


class _Caller:
    """Sends calls over its connections and records the traffic."""

    def __init__(self, methods: Sequence[Sequence[Unary]], calls: Sequence[Call]) -> None:
        self._methods, self._calls, self.traffic = methods, calls, Traffic()  # methods by connection and call
        self._began = time.perf_counter()

    def now(self) -> float:
        """Seconds from the beginning."""
        return time.perf_counter() - self._began

    async def repeat(self, stream: int, seconds: float) -> None:
        number = stream
        while (now := self.now()) < seconds:
            await self.call(number, now, connection=stream)
            number += 1

    async def call(self, number: int, intended: float, *, connection: int) -> None:
        place, traffic, sent = number % len(self._calls), self.traffic, self.now()
        call, method = self._calls[place], self._methods[connection % len(self._methods)][place]
        try:
            reply = await method(call.message, timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() in GONE:
                done = f"{len(traffic.times):,} calls"
                raise BenchmarkError(f"the server is gone after {done}: {status_text(error)}") from error
            traffic.failed[error.code().name] += 1
            return
        if not call.is_right(reply):
            raise BenchmarkError(f"a wrong answer to {call.images} images, after {len(traffic.times):,} right answers")
        traffic.times.append((intended, sent, self.now()))
        traffic.images += call.images


def _run(address: str, calls: Sequence[Call], connections: int, load: Load) -> Traffic:
    # An exception raised by a signal inside one of gRPC's callbacks would abort the process: cancel the load instead.
    with deferred() as interruption, asyncio.Runner(loop_factory=_loop) as runner:
        loop = runner.get_loop()

        async def loaded() -> Traffic:
            task = asyncio.current_task()
            interruption.act = lambda: loop.call_soon_threadsafe(task.cancel) if task else None
            return await _loaded(address, calls, connections, load)

        try:
            return runner.run(loaded())
        except BaseExceptionGroup as group:  # raised in `except*`, an error would be put into a group again
            if (matched := group.subgroup(BenchmarkError)) is None:
                raise
            raise matched.exceptions[0] from None


def _loop() -> asyncio.SelectorEventLoop:
    """Waits by select(2), to the microsecond; epoll, asyncio's default, waits to the millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _loaded(address: str, calls: Sequence[Call], connections: int, load: Load) -> Traffic:
    async with AsyncExitStack() as stack:
        methods: list[list[Unary]] = []
        for _ in range(connections):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, OPTIONS))
            methods.append([channel.unary_unary(call.method) for call in calls])
        try:  # one call each, so that the load finds its connections open
            replies = await asyncio.gather(*(each[0](calls[0].message, timeout=TIMEOUT) for each in methods))
        except grpc.aio.AioRpcError as error:
            raise BenchmarkError(f"{address} does not answer: {status_text(error)}") from error
        if not all(map(calls[0].is_right, replies)):
            raise BenchmarkError(f"{address}: a wrong answer to {calls[0].images} images")
        gc.collect()
        gc.disable()
        try:
            caller = _Caller(methods, calls)
            await load(caller)
        finally:
            gc.enable()
        caller.traffic.seconds = caller.now()
        return caller.traffic
