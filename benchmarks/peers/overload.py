"""More calls than the server can answer, in an open loop: what it still answers, and what a single caller sees of it.

The server's model takes 5 ms longer for each batch, so that the load generator has enough processor time.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Probe:
    """A caller of single images on its own connection, and a reader of the server's counters.

    Attributes:
        codes: By status, how many calls there were while it ran.
        longest: Seconds of the longest of them.
        peak_mb: The most that was resident meanwhile.
    """

    server: ServerUnderTest
    channel: grpc.Channel
    codes: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    peak_mb: float = 0.0

    def answered_and_failed(self) -> tuple[int, int]:
        """The images that were answered, and the calls that were not."""
        model = statistics(self.server.address)
        return model.inference_count, model.inference_stats.fail.count

    def resident_mb(self) -> float:
        return self.server.process.resident_mb() if self.server.process else math.nan

    def single(self) -> float:
        """Seconds of a call, the median; a rejected call counts as infinitely long."""
        calls = [self._call() for _ in range(SINGLE)]
        return median(took if code == grpc.StatusCode.OK.name else math.inf for code, took in calls)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Calls in a thread until the end of the context."""
        self.codes, self.longest, self.peak_mb = Counter(), 0.0, 0.0
        over = threading.Event()

        def calls() -> None:
            while not over.wait(EVERY):
                code, took = self._call()
                self.codes[code] += 1
                self.longest = max(self.longest, took)
                self.peak_mb = max(self.peak_mb, self.resident_mb())

        thread = threading.Thread(target=calls)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _call(self) -> tuple[str, float]:
        classify, began = digits_pb2_grpc.DigitClassifierStub(self.channel).Classify, time.monotonic()
        try:
            classify(digits_pb2.ClassifyRequest(pixels=bytes(784)), timeout=PATIENCE)
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        return code.name, time.monotonic() - began


def overload(call: Call, seconds: float, variant: str = "auto") -> dict[str, Any]:
    """Measures the capacity, and then so many seconds of each factor of it.

    Returns:
        `capacity`, images a second of closed-loop callers, by the server's own counters; `start_mb`, resident before
        anything; `single_seconds`, the median of a single caller's calls before anything; and `loads`, by factor:
        `offered` and `goodput` (answered) images a second; `failed` calls that were rejected or expired; `probe`, the
        statuses of 20 calls a second of one image with a deadline of half a second, and `probe_longest` seconds of
        them; `peak_mb`; and a second later `after_mb` and `single_after`.
    """
    with serving(SLOWED, variant) as server, grpc.insecure_channel(server.address) as channel:
        probe = Probe(server, channel)
        found: dict[str, Any] = {"single_seconds": probe.single(), "start_mb": probe.resident_mb()}
        before, began = probe.answered_and_failed()[0], time.monotonic()
        drive(server.address, call, connections=32, seconds=CAPACITY_SECONDS)
        found["capacity"] = (probe.answered_and_failed()[0] - before) / (time.monotonic() - began)
        print(f"overload: capacity {found['capacity']:,.0f} images/s", flush=True)
        found["loads"] = [_load(call, probe, factor, found["capacity"], seconds) for factor in FACTORS]
    return found


def _load(call: Call, probe: Probe, factor: float, capacity: float, seconds: float) -> dict[str, Any]:
    rate = max(round(capacity * factor / call.images / CONNECTIONS), 1)  # calls a second of each connection
    (answered, failed), began = probe.answered_and_failed(), time.monotonic()
    with probe.running():
        drive(probe.server.address, call, connections=CONNECTIONS, seconds=seconds, streams=STREAMS, per_second=rate)
        took, after = time.monotonic() - began, probe.answered_and_failed()
    time.sleep(RECOVERY)
    goodput = (after[0] - answered) / took
    print(f"overload: {factor:g} times: {goodput / capacity:.0%} answered; probe {dict(probe.codes)}", flush=True)
    return {
        "factor": factor,
        "offered": rate * CONNECTIONS * call.images,
        "goodput": goodput,
        "failed": after[1] - failed,
        "probe": dict(probe.codes),
        "probe_longest": probe.longest,
        "peak_mb": probe.peak_mb,
        "after_mb": probe.resident_mb(),
        "single_after": probe.single(),
    }
