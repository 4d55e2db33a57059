"""A server under a load, as one repeat of a measurement: rates, failures, latencies, and what the load cost the server.

The keys of a repeat: `calls` that were answered, `calls_per_second` and `images_per_second` of the right answers,
`failed` calls by reason, `latency_us` and `sent_late_us` as percentiles; of a server that was started here `cpu_us` of
a call and `resident_mb`; of a server of ours its own account: `server_queue_us` and `server_compute_us`, the means of a
call. Calls that other clients make meanwhile are in the server's account too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, HTTP, Call, Images, Point, call_of, unary
from digits.benchmarks.load.generator import Traffic, closed_loop, open_loop, poisson
from digits.benchmarks.load.h2load import drive
from digits.benchmarks.measurement import Result
from digits.benchmarks.process import ServerProcess
from digits.benchmarks.settings import GRPCIO, OURS, SLOWED, SPINNING
from digits.protos.inference.v2 import inference_pb2

H2LOAD, ASYNCIO = "h2load", "asyncio"
RATE, CPU = "calls_per_second", "cpu_us"  # keys of a repeat
WARM_UP = 0.1  # seconds of the same load before a measurement, at most half as many as of that
OPEN_CONNECTIONS = 4  # of the open loop
LONGER = 10  # times, if nothing was answered
STATISTICS = "/inference.GRPCInferenceService/ModelStatistics"


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """A server."""

    name: str  # such as "digits, native"
    address: str  # HOST:PORT
    process: ServerProcess | None = None  # where it was started here
    kind: str = OURS  # its name for `--servers`

    @property
    def counts(self) -> bool:
        """Whether it is a server of ours, which has the statistics of the Open Inference Protocol."""
        return self.kind in {OURS, SPINNING, GRPCIO, SLOWED}


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A closed loop."""

    connections: int
    streams: int = 1  # concurrent calls on each connection
    generator: str = H2LOAD
    percentiles: bool = True  # whether h2load logs each call for them
    warm_up: bool = True  # whether the load runs for a moment before the measurement

    def load(self, method: str, images: int | str) -> dict[str, Any]:
        """Its description in the JSON."""
        over = {"connections": self.connections, "streams": self.streams, "generator": self.generator}
        return {"loop": "closed", "method": method, "images": images, **over}

    def measured(self, server: ServerUnderTest, calls: Sequence[Call], seconds: float) -> dict[str, Any]:
        """A repeat. h2load sends the first of the calls only.

        Raises BenchmarkError if the server is gone, or an answer is wrong.
        """
        try:
            return (self._by_h2load if self.generator == H2LOAD else self._by_asyncio)(server, calls, seconds)
        except BenchmarkError as error:
            # Its connections are closed before the process has ended.
            if server.process and server.process.has_ended(patience=1):
                raise BenchmarkError(f"{server.name}: its server has ended in the middle") from error
            raise BenchmarkError(f"{server.name}: {error}") from error

    def _by_asyncio(self, server: ServerUnderTest, calls: Sequence[Call], seconds: float) -> dict[str, Any]:
        over = {"connections": self.connections, "streams": self.streams}
        return _by_generator(
            server, lambda long: closed_loop(server.address, calls, **over, seconds=long), seconds, self.warm_up
        )

    def _by_h2load(self, server: ServerUnderTest, calls: Sequence[Call], seconds: float) -> dict[str, Any]:
        """h2load checks no status: one answer is checked before, and the size of all answers afterwards."""
        call, over = calls[0], dict[str, Any](connections=self.connections, streams=self.streams)
        size = call.require_answer(server.address)
        if self.warm_up:
            drive(server.address, call, **over, seconds=_warm_up(seconds))
        over["percentiles"] = self.percentiles
        before, load = _totals(server), drive(server.address, call, **over, seconds=seconds)
        if not load.answered:  # no processor time for so long
            before, load = _totals(server), drive(server.address, call, **over, seconds=LONGER * seconds)
        if not load.answered or (load.failed and call.content_type is None):
            call.require_answer(server.address)  # raises an error if the server is gone
        load.require_bodies(call, size)
        cost, refused = _cost(server, before, load.answered)  # h2load counts refused calls as answered
        rate = load.calls_per_second * max(load.answered - load.failed - refused, 0) / load.answered
        return {
            "calls": load.answered,
            "calls_per_second": round(rate, 1),
            "images_per_second": round(rate * call.images, 1),
            "failed": {why: count for why, count in (("refused", refused), ("no answer", load.failed)) if count},
            "latency_us": None if refused else load.percentiles,
            **cost,
        }


def open_repeat(
    server: ServerUnderTest, calls: Sequence[Call], *, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    """A repeat of the open loop: `rate` calls a second at random times. Raises BenchmarkError like the closed loop."""

    def load(long: float) -> Traffic:
        return open_loop(server.address, calls, poisson(rate, long, seed), connections=OPEN_CONNECTIONS)

    return {"offered_calls_per_second": round(rate, 1), **_by_generator(server, load, seconds, warm_up=True)}


def statistics(address: str) -> inference_pb2.ModelStatistics:
    """The statistics of the server's only model since its start. Raises BenchmarkError if it has none."""
    request = inference_pb2.ModelStatisticsRequest().SerializeToString()
    try:
        reply = unary(address, STATISTICS, request)
        (model,) = inference_pb2.ModelStatisticsResponse.FromString(reply).model_stats
    except (DecodeError, ValueError) as error:
        raise BenchmarkError(f"{address} has no statistics of one model: {error}") from error
    return model


def _by_generator(
    server: ServerUnderTest, load: Callable[[float], Traffic], seconds: float, warm_up: bool
) -> dict[str, Any]:
    """A repeat of a load by our own generator, which counts refused calls itself, by status."""
    if warm_up:
        load(_warm_up(seconds))
    before, traffic = _totals(server), load(seconds)
    return traffic.numbers() | _cost(server, before, len(traffic.times))[0]


def _warm_up(seconds: float) -> float:
    return min(WARM_UP, seconds / 2)


def _cost(server: ServerUnderTest, before: NDArray[np.float64], answered: int) -> tuple[dict[str, Any], int]:
    """What so many answered calls cost the server since `before`, by its names in a repeat; and the refused calls."""
    cpu, calls, refused, queue, compute = (_totals(server) - before).tolist()
    found: dict[str, Any] = {}
    if server.process is not None and answered:
        found["cpu_us"] = round(cpu / answered * 1e6, 2)
        found["resident_mb"] = round(server.process.resident_mb(), 2)
    if calls:
        found["server_queue_us"] = round(queue / calls / 1e3, 2)
        found["server_compute_us"] = round(compute / calls / 1e3, 2)
    return found, int(refused)


def _totals(server: ServerUnderTest) -> NDArray[np.float64]:
    """Since its start: processor seconds; calls, refused calls, nanoseconds in the queue and computing."""
    cpu = server.process.cpu_seconds() if server.process else 0.0
    if not server.counts:
        return np.array([cpu, 0, 0, 0, 0])
    own = statistics(server.address).inference_stats
    return np.array([cpu, own.success.count, own.fail.count, own.queue.ns, own.compute_infer.ns])


@dataclass(frozen=True, slots=True)
class Grid:
    """Measures servers at grid points, into a result."""

    result: Result
    images: Images
    loop: ClosedLoop  # how each is measured, but with the connections of a point; with one of them each call is logged
    seconds: float  # of each measurement

    def turn(self, servers: Sequence[ServerUnderTest], point: Point, number: int) -> dict[str, Any]:
        """Measures each server once, and keeps the repeats when all are complete.

        Turns with an odd number take the servers from the last to the first, so that a drift favours none.

        Raises BenchmarkError if a server is gone, or an answer is wrong.
        """
        ordered = servers[:: -1 if number % 2 else 1]
        found = {server.name: self.measured(server, point, self.seconds) for server in ordered}
        for server in servers:
            self.keep(server, point, found[server.name])
        return found

    def measured(self, server: ServerUnderTest, point: Point, seconds: float) -> dict[str, Any]:
        """A repeat, which is not kept yet. Ours gets Classify where the point is for a peer that has no gRPC.

        Raises BenchmarkError if the server is gone, or an answer is wrong.
        """
        call = call_of(_kind(server, point), server.kind, self.images, point.images)
        try:
            return self._loop(point).measured(server, [call], seconds)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}, under {point}") from error

    def keep(self, server: ServerUnderTest, point: Point, repeat: Mapping[str, Any]) -> None:
        load = self._loop(point).load(_kind(server, point), point.images)
        self.result.repeats(server.name, load).append(dict(repeat))

    def _loop(self, point: Point) -> ClosedLoop:
        percentiles = self.loop.percentiles or point.connections == 1
        return replace(self.loop, connections=point.connections, percentiles=percentiles)


def rates_text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The rates of a turn, for people."""
    return "; ".join(f"{name} {repeat[RATE]:,.0f}/s" for name, repeat in found.items())


def _kind(server: ServerUnderTest, point: Point) -> str:
    return CLASSIFY if server.counts and point.kind in HTTP else point.kind
