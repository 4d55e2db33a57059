"""A server under a load, as one repeat of a measurement: rates, failures, latencies, and what the load cost the server.

The keys of a repeat: `calls` that were answered, `calls_per_second` and `images_per_second` of the right answers,
`failed` calls by reason, `latency_us` and `sent_late_us` as percentiles, `mean_us` of a call by h2load's own account;
of a server that was started here `cpu_us` of a call and `resident_mb`; of a server of ours its own account:
`server_queue_us` and `server_compute_us`, the means of a call, and `images_a_batch`. Calls that other clients make
meanwhile are in the server's account too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import Call, unary
from digits.benchmarks.load.generator import Traffic, closed_loop, open_loop, poisson
from digits.benchmarks.load.h2load import H2loadResult, drive
from digits.benchmarks.process import ServerProcess
from digits.protos.inference.v2 import inference_pb2

H2LOAD, ASYNCIO = "h2load", "asyncio"
WARM_UP = 0.1  # seconds of the same load before a measurement, at most half as many as of that
OPEN_CONNECTIONS = 4  # of the open loop
LONGER = 10  # times, if nothing was answered
STATISTICS = "/inference.GRPCInferenceService/ModelStatistics"
FRAME = 5  # bytes of gRPC's before each message
COMPLETE = 0.95  # of the expected bytes, at least: a failed call has no body


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """A server.

    Attributes:
        name: Such as "digits, native".
        address: HOST:PORT.
        process: Where it was started here.
        counts: Whether it has the statistics of the Open Inference Protocol, as servers of ours do.
    """

    name: str
    address: str
    process: ServerProcess | None = None
    counts: bool = False


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A closed loop.

    Attributes:
        connections: How many.
        streams: Concurrent calls on each.
        generator: H2LOAD or ASYNCIO.
        percentiles: Whether h2load logs each call for them.
        warm_up: Whether the load runs for a moment before the measurement.
    """

    connections: int
    streams: int = 1
    generator: str = H2LOAD
    percentiles: bool = True
    warm_up: bool = True

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
        def load(seconds: float) -> Traffic:
            return closed_loop(
                server.address, calls, connections=self.connections, streams=self.streams, seconds=seconds
            )

        return _metered(server, load, seconds, warm_up=self.warm_up)

    def _by_h2load(self, server: ServerUnderTest, calls: Sequence[Call], seconds: float) -> dict[str, Any]:
        """h2load checks no status: one answer is checked before, and the size of all answers afterwards."""
        call = calls[0]
        how: dict[str, Any] = {"connections": self.connections, "streams": self.streams}
        size = call.require_answer(server.address)
        if self.warm_up:
            drive(server.address, call, **how, seconds=_warm_up(seconds))
        before = _totals(server)
        load = drive(server.address, call, **how, seconds=seconds, percentiles=self.percentiles)
        if not load.answered:  # no processor time for so long
            load = drive(server.address, call, **how, seconds=LONGER * seconds, percentiles=self.percentiles)
        if not load.answered or (load.failed and call.content_type is None):
            call.require_answer(server.address)  # raises an error if the server is gone
        cost = _cost(server, before, load.answered)
        refused = cost.pop("refused")  # h2load counts these as answered
        require_bodies(load, call, size)
        rate = load.calls_per_second * max(load.answered - load.failed - refused, 0) / max(load.answered, 1)
        failed = {reason: count for reason, count in (("refused", refused), ("no answer", load.failed)) if count}
        return {
            "calls": load.answered,
            "calls_per_second": round(rate, 1),
            "images_per_second": round(rate * call.images, 1),
            "failed": failed,
            "latency_us": None if refused else load.percentiles,
            "mean_us": load.mean_us,
            **cost,
        }


def open_repeat(
    server: ServerUnderTest, calls: Sequence[Call], *, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    """A repeat of the open loop: `rate` calls a second at random times. Raises BenchmarkError like the closed loop."""

    def load(seconds: float) -> Traffic:
        return open_loop(server.address, calls, poisson(rate, seconds, seed), connections=OPEN_CONNECTIONS)

    return {"offered_calls_per_second": round(rate, 1), **_metered(server, load, seconds)}


def require_bodies(load: H2loadResult, call: Call, size: int) -> None:
    """Raises BenchmarkError unless the answers were as large, in the mean, as the one of `size` bytes that was checked.

    A call that failed has no body; answers of Classify differ by a few bytes.
    """
    size += FRAME if call.content_type is None else 0
    if not load.answered or load.body_bytes < load.answered * (size - call.varies) * COMPLETE:
        raise BenchmarkError(
            f"{call.kind}: {load.answered:,} calls brought {load.body_bytes:,} bytes, expected {size} for each: "
            "some of them failed"
        )


def statistics(address: str) -> inference_pb2.ModelStatistics:
    """The statistics of the server's only model since its start. Raises BenchmarkError if it has none."""
    request = inference_pb2.ModelStatisticsRequest().SerializeToString()
    try:
        reply = unary(address, STATISTICS, request)
        (model,) = inference_pb2.ModelStatisticsResponse.FromString(reply).model_stats
    except (DecodeError, ValueError) as error:
        raise BenchmarkError(f"{address} has no statistics of one model: {error}") from error
    return model


def _totals(server: ServerUnderTest) -> NDArray[np.float64]:
    """Since its start: processor seconds; calls, images, batches, failed calls, ns in the queue and computing."""
    cpu = server.process.cpu_seconds() if server.process else 0.0
    if not server.counts:
        return np.array([cpu, *[0.0] * 6])
    model = statistics(server.address)
    own = model.inference_stats
    counts = (own.success.count, model.inference_count, model.execution_count, own.fail.count)
    return np.array([cpu, *counts, own.queue.ns, own.compute_infer.ns])


def _cost(server: ServerUnderTest, before: NDArray[np.float64], answered: int) -> dict[str, Any]:
    """What so many answered calls cost the server since `before`, by its names in a repeat; and `refused` calls."""
    cpu, calls, images, batches, failed, queue, compute = (_totals(server) - before).tolist()
    found: dict[str, Any] = {}
    if server.process is not None and answered:
        found["cpu_us"] = round(cpu / answered * 1e6, 2)
        found["resident_mb"] = round(server.process.resident_mb(), 2)
    if calls:
        found["server_queue_us"] = round(queue / calls / 1e3, 2)
        found["server_compute_us"] = round(compute / calls / 1e3, 2)
        found["images_a_batch"] = round(images / batches, 2)
    return found | {"refused": int(failed)}


def _metered(
    server: ServerUnderTest, load: Callable[[float], Traffic], seconds: float, *, warm_up: bool = True
) -> dict[str, Any]:
    """A load of our own generator, after a moment of the same."""
    if warm_up:
        load(_warm_up(seconds))
    before = _totals(server)
    traffic = load(seconds)
    cost = _cost(server, before, len(traffic.times))
    del cost["refused"]  # the generator counts them itself, by status
    return {**traffic.numbers(), **cost}


def _warm_up(seconds: float) -> float:
    return min(WARM_UP, seconds / 2)
