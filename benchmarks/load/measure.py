"""A server under a load, as one repeat of a measurement: rates, failures, latencies, and what the load cost the server.

The keys of a repeat: `calls` that were answered, `calls_per_second` and `images_per_second` of the right answers,
`failed` calls by reason, `latency_us` and `sent_late_us` as percentiles; of a server that was started here `cpu_us` of
a call and `resident_mb`; of a server of ours its own account: `server_queue_us` and `server_compute_us`, the means of a
call, and `images_a_batch`. Calls that other clients make meanwhile are in the server's account too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import Call, unary
from digits.benchmarks.load.generator import closed_loop, open_loop, poisson
from digits.benchmarks.load.h2load import H2loadResult, drive
from digits.benchmarks.process import ServerProcess
from digits.benchmarks.settings import GRPCIO, OURS, SLOWED, SPINNING
from digits.protos.inference.v2 import inference_pb2

Result = TypeVar("Result")

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

        Raises:
            BenchmarkError: the server is gone, or an answer is wrong.
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
        traffic, cost = _metered(
            server, lambda long: closed_loop(server.address, calls, **over, seconds=long), seconds, self.warm_up
        )
        return traffic.numbers() | cost.of(len(traffic.times))

    def _by_h2load(self, server: ServerUnderTest, calls: Sequence[Call], seconds: float) -> dict[str, Any]:
        """h2load checks no status: one answer is checked before, and the size of all answers afterwards."""
        call = calls[0]
        size = call.require_answer(server.address)

        def run(long: float) -> H2loadResult:
            over: dict[str, Any] = {"connections": self.connections, "streams": self.streams}
            return drive(server.address, call, **over, seconds=long, percentiles=self.percentiles)

        load, cost = _metered(server, run, seconds, self.warm_up)
        if not load.answered:  # no processor time for so long
            load, cost = _metered(server, run, LONGER * seconds, warm_up=False)
        if not load.answered or (load.failed and call.content_type is None):
            call.require_answer(server.address)  # raises an error if the server is gone
        load.require_bodies(call, size)
        refused = cost.refused  # h2load counts these as answered
        rate = load.calls_per_second * max(load.answered - load.failed - refused, 0) / load.answered
        return {
            "calls": load.answered,
            "calls_per_second": round(rate, 1),
            "images_per_second": round(rate * call.images, 1),
            "failed": {why: count for why, count in (("refused", refused), ("no answer", load.failed)) if count},
            "latency_us": None if refused else load.percentiles,
            **cost.of(load.answered),
        }


def open_repeat(
    server: ServerUnderTest, calls: Sequence[Call], *, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    """A repeat of the open loop: `rate` calls a second at random times. Raises BenchmarkError like the closed loop."""
    traffic, cost = _metered(
        server,
        lambda long: open_loop(server.address, calls, poisson(rate, long, seed), connections=OPEN_CONNECTIONS),
        seconds,
    )
    return {"offered_calls_per_second": round(rate, 1), **traffic.numbers(), **cost.of(len(traffic.times))}


def statistics(address: str) -> inference_pb2.ModelStatistics:
    """The statistics of the server's only model since its start. Raises BenchmarkError if it has none."""
    request = inference_pb2.ModelStatisticsRequest().SerializeToString()
    try:
        reply = unary(address, STATISTICS, request)
        (model,) = inference_pb2.ModelStatisticsResponse.FromString(reply).model_stats
    except (DecodeError, ValueError) as error:
        raise BenchmarkError(f"{address} has no statistics of one model: {error}") from error
    return model


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a load cost a server: processor seconds; calls, images, batches, refused calls, ns queued and computing."""

    server: ServerUnderTest
    used: NDArray[np.float64]

    @property
    def refused(self) -> int:
        return int(self.used[4])

    def of(self, answered: int) -> dict[str, Any]:
        """The cost of so many answered calls, by its names in a repeat."""
        cpu, calls, images, batches, _, queue, compute = self.used.tolist()
        found: dict[str, Any] = {}
        if self.server.process is not None and answered:
            found["cpu_us"] = round(cpu / answered * 1e6, 2)
            found["resident_mb"] = round(self.server.process.resident_mb(), 2)
        if calls:
            found["server_queue_us"] = round(queue / calls / 1e3, 2)
            found["server_compute_us"] = round(compute / calls / 1e3, 2)
            found["images_a_batch"] = round(images / batches, 2)
        return found


def _metered(
    server: ServerUnderTest, load: Callable[[float], Result], seconds: float, warm_up: bool = True
) -> tuple[Result, _Cost]:
    """A load of so many seconds, after a moment of the same, and its cost."""
    if warm_up:
        load(min(WARM_UP, seconds / 2))
    before = _totals(server)
    return load(seconds), _Cost(server, _totals(server) - before)


def _totals(server: ServerUnderTest) -> NDArray[np.float64]:
    """Of a server since its start, in the order of `_Cost`."""
    cpu = server.process.cpu_seconds() if server.process else 0.0
    if not server.counts:
        return np.array([cpu, *[0.0] * 6])
    model = statistics(server.address)
    own = model.inference_stats
    counts = (own.success.count, model.inference_count, model.execution_count, own.fail.count)
    return np.array([cpu, *counts, own.queue.ns, own.compute_infer.ns])
