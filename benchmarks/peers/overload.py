"""More calls than the server can answer, offered open-loop: what it still does, and what a lone caller sees of it."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import grpc

from digits.benchmarks.h2load import drive
from digits.benchmarks.servers import serving
from digits.benchmarks.settings import SLOWED
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digits.benchmarks.calls import Call
    from digits.benchmarks.process import ServerProcess

FACTORS = (1.5, 2.0)  # times the capacity
CAPACITY_SECONDS = 5.0
CONNECTIONS, STREAMS = 64, 64  # of the overload: where all streams wait, h2load offers no more
EVERY = 0.05  # seconds between two calls of the probe
PATIENCE = 0.5  # seconds: the probe's deadline
RECOVERY = 1.0  # seconds after which it is to be as it was
LONE = 40  # calls of a lone caller


@dataclass(frozen=True, slots=True)
class Overload:
    """One factor.

    Attributes:
        factor: Times the capacity that was offered.
        offered: Images a second.
        goodput: Images a second that were answered, by the server's own counters.
        failed: Calls that it refused or let expire, by the same.
        probe: By status, what 20 calls a second of one image saw.
        probe_longest: Seconds of the longest of them; its deadline is half a second.
        peak_mb: The most that was resident.
        after_mb: What is resident a second later.
        lone_after: Seconds of a lone call a second later, the median.
    """

    factor: float
    offered: float
    goodput: float
    failed: int
    probe: dict[str, int]
    probe_longest: float
    peak_mb: float
    after_mb: float
    lone_after: float


@dataclass(frozen=True, slots=True)
class OverloadResult:
    """Of a server whose model takes 5 ms longer for each batch, so that the generator has room.

    Attributes:
        capacity: Images a second of closed-loop callers, by the server's own counters.
        start_mb: What is resident before anything.
        lone: Seconds of a lone call before anything, the median.
        loads: By factor.
    """

    capacity: float
    start_mb: float
    lone: float
    loads: list[Overload]


def overload(call: Call, seconds: float, variant: str = "auto") -> OverloadResult:
    """Measures the capacity, and then so many seconds of each factor of it."""
    with serving(SLOWED, variant) as process, _probing(process.address) as probe:
        lone, start_mb = probe.lone(), process.resident_mb()
        before, began = probe.done(), time.monotonic()
        drive(process.address, call.method, call.message, connections=32, seconds=CAPACITY_SECONDS)
        capacity = (probe.done()[0] - before[0]) / (time.monotonic() - began)
        print(f"overload: capacity {capacity:,.0f} images/s", flush=True)
        loads = [_load(call, process, probe, factor, capacity=capacity, seconds=seconds) for factor in FACTORS]
    return OverloadResult(capacity, start_mb, lone, loads)


def _load(
    call: Call, process: ServerProcess, probe: Probe, factor: float, *, capacity: float, seconds: float
) -> Overload:
    images = call.cell.images
    rate = max(round(capacity * factor / images / CONNECTIONS), 1)  # h2load's --rps, of each connection
    before, began = probe.done(), time.monotonic()
    with probe.running(process) as seen:
        drive(
            process.address,
            call.method,
            call.message,
            connections=CONNECTIONS,
            seconds=seconds,
            streams=STREAMS,
            per_second=rate,
        )
        took, after = time.monotonic() - began, probe.done()
    time.sleep(RECOVERY)
    found = Overload(
        factor=factor,
        offered=rate * CONNECTIONS * images,
        goodput=(after[0] - before[0]) / took,
        failed=after[1] - before[1],
        probe=dict(seen.codes),
        probe_longest=seen.longest,
        peak_mb=seen.peak_mb,
        after_mb=process.resident_mb(),
        lone_after=probe.lone(),
    )
    print(f"overload: {factor:g} times: {found.goodput / capacity:.0%} of it answered; probe {found.probe}", flush=True)
    return found


@dataclass(slots=True)
class Seen:
    """What the probe saw while it ran."""

    codes: Counter[str]
    longest: float = 0.0
    peak_mb: float = 0.0


class Probe:
    """A caller of single images, and a reader of the server's counters, on a connection of its own."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._digits = digits_pb2_grpc.DigitClassifierStub(channel)
        self._inference = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._request = digits_pb2.ClassifyRequest(pixels=bytes(784))

    def done(self) -> tuple[int, int]:
        """The images that were answered, and the calls that were not."""
        request = inference_pb2.ModelStatisticsRequest(name="digits")
        (model,) = self._inference.ModelStatistics(request, timeout=30).model_stats
        return model.inference_count, model.inference_stats.fail.count

    def lone(self) -> float:
        """Seconds of a call, the median; one that is refused takes for ever."""
        calls = [self._call() for _ in range(LONE)]
        return median(took if code == grpc.StatusCode.OK.name else math.inf for code, took in calls)

    @contextmanager
    def running(self, process: ServerProcess) -> Iterator[Seen]:
        """Calls in a thread until the end of the context."""
        seen, over = Seen(Counter()), threading.Event()

        def calls() -> None:
            while not over.wait(EVERY):
                code, took = self._call()
                seen.codes[code] += 1
                seen.longest = max(seen.longest, took)
                seen.peak_mb = max(seen.peak_mb, process.resident_mb())

        thread = threading.Thread(target=calls)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()

    def _call(self) -> tuple[str, float]:
        began = time.monotonic()
        try:
            self._digits.Classify(self._request, timeout=PATIENCE)
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        return code.name, time.monotonic() - began


@contextmanager
def _probing(address: str) -> Iterator[Probe]:
    with grpc.insecure_channel(address) as channel:
        yield Probe(channel)
