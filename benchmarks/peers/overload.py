"""More calls than the server can answer, in an open loop: what it still answers, and what a single caller sees of it.

The server's model takes 5 ms longer for each batch, so that the load generator has enough processor time.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import grpc

from digits.benchmarks.load.call import Call
from digits.benchmarks.load.h2load import drive
from digits.benchmarks.load.measure import ServerUnderTest, statistics
from digits.benchmarks.servers import serving
from digits.benchmarks.settings import SLOWED
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

FACTORS = (1.5, 2.0)  # times the capacity
CAPACITY_SECONDS = 5.0
CONNECTIONS, STREAMS = 64, 64  # of the overload: where all streams wait, h2load offers no more
EVERY = 0.05  # seconds between two calls of the probe
PATIENCE = 0.5  # seconds: the probe's deadline
RECOVERY = 1.0  # seconds after which the server must be as before
SINGLE = 40  # calls of a single caller


class Probe:
    """A caller of single images on its own connection, and a reader of the server's counters."""

    def __init__(self, server: ServerUnderTest, channel: grpc.Channel) -> None:
        self.server = server
        self._classify = digits_pb2_grpc.DigitClassifierStub(channel).Classify

    def answered_images(self) -> int:
        return statistics(self.server.address).inference_count

    def resident_mb(self) -> float:
        return self.server.process.resident_mb() if self.server.process else math.nan

    def single(self) -> float:
        """Seconds of a call, the median; a rejected call counts as infinitely long."""
        calls = [self.call() for _ in range(SINGLE)]
        return median(took if code == grpc.StatusCode.OK.name else math.inf for code, took in calls)

    def call(self) -> tuple[str, float]:
        """The status and the seconds of a call."""
        began, code = time.monotonic(), grpc.StatusCode.OK
        try:
            self._classify(digits_pb2.ClassifyRequest(pixels=bytes(784)), timeout=PATIENCE)
        except grpc.RpcError as error:
            code = error.code()
        return code.name, time.monotonic() - began

    @contextmanager
    def running(self) -> Iterator[list[tuple[str, float]]]:
        """Calls in a thread until the end of the context, and keeps what `call` returns."""
        over, calls = threading.Event(), list[tuple[str, float]]()

        def probe() -> None:
            while not over.wait(EVERY):
                calls.append(self.call())

        thread = threading.Thread(target=probe)
        thread.start()
        try:
            yield calls
        finally:
            over.set()
            thread.join()


def overload(call: Call, seconds: float, variant: str = "auto") -> dict[str, Any]:
    """Measures the capacity, and then so many seconds of each factor of it.

    Returns:
        `capacity`, images a second of closed-loop callers, by the server's own counters; `start_mb`, resident before
        anything; `single_seconds`, the median of a single caller's calls before anything; and `loads`, by factor:
        `offered` and `goodput` (answered) images a second; `probe`, the statuses of 20 calls a second of one image with
        a deadline of half a second, and `probe_longest` seconds of them; and a second later `after_mb` and
        `single_after`.
    """
    with serving(SLOWED, variant) as server, grpc.insecure_channel(server.address) as channel:
        probe = Probe(server, channel)
        found: dict[str, Any] = {"single_seconds": probe.single(), "start_mb": probe.resident_mb()}
        before, began = probe.answered_images(), time.monotonic()
        drive(server.address, call, connections=32, seconds=CAPACITY_SECONDS)
        found["capacity"] = (probe.answered_images() - before) / (time.monotonic() - began)
        print(f"overload: capacity {found['capacity']:,.0f} images/s", flush=True)
        found["loads"] = [_load(call, probe, factor, found["capacity"], seconds) for factor in FACTORS]
    return found


def _load(call: Call, probe: Probe, factor: float, capacity: float, seconds: float) -> dict[str, Any]:
    rate = max(round(capacity * factor / call.images / CONNECTIONS), 1)  # calls a second of each connection
    before, began = probe.answered_images(), time.monotonic()
    with probe.running() as calls:
        drive(probe.server.address, call, connections=CONNECTIONS, seconds=seconds, streams=STREAMS, per_second=rate)
        goodput = (probe.answered_images() - before) / (time.monotonic() - began)
    time.sleep(RECOVERY)
    codes = dict(Counter(code for code, _ in calls))
    print(f"overload: {factor:g} times: {goodput / capacity:.0%} answered; probe {codes}", flush=True)
    return {
        "factor": factor,
        "offered": rate * CONNECTIONS * call.images,
        "goodput": goodput,
        "probe": codes,
        "probe_longest": max((took for _, took in calls), default=0.0),
        "after_mb": probe.resident_mb(),
        "single_after": probe.single(),
    }
