"""A server under load: closed loop, open loop, mixed sizes, and the highest rate that meets an SLO.

A measurement's `load` has `loop` (closed or open), `method`, `images` in a call (or the sizes that are mixed),
`connections`, `streams` and `generator`; in the open loop `share` of the rate that the generator reached in the closed
loop, or the `rate` that was asked for. The measurement of a search for the highest rate has a repeat for each rate that
was tried, `highest_calls_per_second`, and `at_least` where our generator reached its limit before the server.
load/measure.py describes the repeats.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, UINT8, Call, Images, Point, call_of, clear_images, load_text, unary
from digits.benchmarks.load.h2load import installed, require_h2load
from digits.benchmarks.load.measure import (
    ASYNCIO,
    H2LOAD,
    OPEN_CONNECTIONS,
    WARM_UP,
    ClosedLoop,
    Grid,
    ServerUnderTest,
    open_repeat,
    rates_text,
)
from digits.benchmarks.measurement import Result, measuring
from digits.benchmarks.server.report import server_section, slo_text
from digits.benchmarks.servers import TRANSPORTS, serving
from digits.benchmarks.settings import ECHO, ServerBenchmarkSettings
from digits.client.channel import check_address
from digits.images import mnist
from digits.model.repository import open_repository

MANY = 64  # images in a call, over few connections: there the model is the limit, not the transport
BOTH = 16  # connections, at which both protocols are measured
MIXED = (1, 8, 64)  # images in a call, each as often as the others
SHARES = (0.25, 0.5, 0.75)  # of the rate of the closed loop: the rates of the open loop
STEPS = 5  # of the search for the highest rate
LONGER = 3  # times as long as others the open loop's measurements take, for its rarest calls
PATIENCE = 5.0  # seconds until a running server has answered
LONG = 20  # times the SLO, at least, that a rate is tried for: above the capacity, calls queue up for so long
LATE = 0.25  # of the SLO, by which the generator may be late: beyond, it is the limit and not the server
DOWN = 0.9  # times the rate, if the SLO is not met again


def run(settings: ServerBenchmarkSettings) -> None:
    """Measures the running server, or one with each transport, and an echo, and writes the results.

    Raises BenchmarkError if no server answers, one is gone in the middle, or an answer is wrong.
    """
    if settings.quick:
        settings = replace(settings, connections=(1, BOTH), seconds=min(settings.seconds, 0.2), repeats=1)
    if settings.generator == H2LOAD:
        require_h2load()
    generator = H2LOAD if settings.generator != ASYNCIO and installed() else ASYNCIO
    data = mnist.load(settings.data)
    images = clear_images(open_repository(settings.models).open(), data.x_test, data.y_test)
    warm_up = f"{WARM_UP} s of the same load before each"
    with (
        under_test(settings, images) as servers,
        measuring("server", settings, data, seed=settings.seed, warm_up=warm_up, repeats=settings.repeats) as result,
    ):
        if generator == H2LOAD:
            result.head["versions"]["h2load"] = require_h2load()
        bench = Bench(settings, images, servers[:-1], servers[-1], result)
        limits = bench.limits()
        bench.closed_loop(generator)
        bench.open_loop(limits)
        if not settings.quick:
            bench.mixed_sizes()
        bench.highest_rates(limits)
    result.show(server_section)


@contextmanager
def under_test(settings: ServerBenchmarkSettings, images: Images) -> Iterator[list[ServerUnderTest]]:
    """The servers to measure; the last is the echo, the upper bound of what a server and a generator can reach.

    Raises BenchmarkError if one does not start or answer, or gives wrong digits.
    """
    with ExitStack() as stack:
        if settings.server is not None:
            check_address(settings.server)
            servers = [ServerUnderTest(settings.server, settings.server)]
        else:
            servers = [
                replace(stack.enter_context(serving(name, models=settings.models)), name=f"digits, {transport}")
                for transport, name in list(TRANSPORTS.items())[: 1 if settings.quick else None]
            ]
        for server in servers:
            _require_right(server, images)
        yield [*servers, stack.enter_context(serving(ECHO))]


def _require_right(server: ServerUnderTest, images: Images) -> None:
    """Raises BenchmarkError unless the server gives the images their digits."""
    call = call_of(CLASSIFY, server.kind, images, len(images[1]))
    if not call.is_right(unary(server.address, call.method, call.message, timeout=PATIENCE)):
        found = f"{server.name} gives some of the {call.images} clear images another digit"
        raise BenchmarkError(f"{found}; does it serve another model? Give its --models")


@dataclass(frozen=True, slots=True)
class Bench:
    """The measurements, which it adds to the result."""

    settings: ServerBenchmarkSettings
    images: Images
    ours: list[ServerUnderTest]
    echo: ServerUnderTest
    result: Result

    def calls(self, server: ServerUnderTest, count: int = 1) -> list[Call]:
        return [call_of(CLASSIFY, server.kind, self.images, count)]

    def limits(self) -> dict[str, float]:
        """By server: calls a second of one image that our own generator reaches; with the echo, its own limit."""
        return {server.name: self._own_rate(server, self.calls(server), 1) for server in [*self.ours, self.echo]}

    def closed_loop(self, generator: str) -> None:
        """Each load goes to one server after the other, and all of them again in each repeat."""
        settings = self.settings
        grid = Grid(self.result, self.images, ClosedLoop(1, settings.streams, generator), settings.seconds)
        points = [Point(CLASSIFY, 1, connections) for connections in settings.connections]
        if not settings.quick:
            points += [Point(UINT8, 1, BOTH), Point(CLASSIFY, MANY, OPEN_CONNECTIONS)]
        for number in range(settings.repeats):
            for point in points:
                found = grid.turn(self.ours if point.images > 1 else [*self.ours, self.echo], point, number)
                print(f"{number + 1}/{settings.repeats}: {point}: {rates_text(found)}", flush=True)

    def open_loop(self, limits: dict[str, float]) -> None:
        """At each rate one server after the other."""
        settings = self.settings
        shares = SHARES[1:2] if settings.quick else SHARES
        for number, share in enumerate(settings.rates or shares):
            for server in self.ours:
                key, rate = ("rate", float(share)) if settings.rates else ("share", share * limits[server.name])
                seconds, seed = LONGER * settings.seconds, settings.seed + number
                repeat = open_repeat(server, self.calls(server), rate=rate, seconds=seconds, seed=seed)
                self._add(server, _open(1) | {key: share}, [repeat])

    def mixed_sizes(self) -> None:
        """A thousand calls of random sizes in the closed loop, and in the open one at half of that rate."""
        settings, sizes = self.settings, ",".join(map(str, MIXED))
        order = np.random.default_rng(settings.seed).choice(MIXED, 1000).tolist()
        for server in self.ours:
            by_size = {size: self.calls(server, size)[0] for size in MIXED}
            calls = [by_size[size] for size in order]
            rate = self._own_rate(server, calls, sizes) / 2
            repeat = open_repeat(server, calls, rate=rate, seconds=settings.seconds, seed=settings.seed)
            self._add(server, _open(sizes) | {"share": 0.5}, [repeat])

    def highest_rates(self, limits: dict[str, float]) -> None:
        """With calls of one image, where the generator may be the limit, and of many."""
        settings = self.settings
        for count in (MANY,) if settings.quick else (1, MANY):
            for server in self.ours:
                calls = self.calls(server, count)
                limit = limits[server.name] if count == 1 else self._own_rate(server, calls, count)
                search = Search(server, calls, settings.slo, settings.seconds, settings.seed)
                rate = search.highest(1.1 * limit, 2 if settings.quick else STEPS)
                row: dict[str, Any] = {
                    "system": server.name,
                    "load": _open(count) | {"slo_ms": settings.slo},
                    "repeats": search.tried,
                }
                row |= {"highest_calls_per_second": round(rate, 1), "at_least": search.is_bounded_by_generator}
                self.result.rows.append(row)
                print(f"{server.name}: {slo_text(row)}", flush=True)

    def _own_rate(self, server: ServerUnderTest, calls: list[Call], images: int | str) -> float:
        """Calls a second of our own generator in the closed loop, which are in the results too."""
        loop = ClosedLoop(BOTH, self.settings.streams, ASYNCIO)
        repeat = loop.measured(server, calls, self.settings.seconds)
        self._add(server, loop.load(CLASSIFY, images), [repeat])
        return float(repeat["calls_per_second"])

    def _add(self, server: ServerUnderTest, load: dict[str, Any], repeats: list[dict[str, Any]]) -> None:
        self.result.rows.append({"system": server.name, "load": load, "repeats": repeats})
        print(f"{server.name}: {load_text(load)}: {repeats[0]['calls_per_second']:,.0f} calls/s", flush=True)


def _open(images: int | str) -> dict[str, Any]:
    over = {"connections": OPEN_CONNECTIONS, "generator": ASYNCIO}
    return {"loop": "open", "method": CLASSIFY, "images": images, **over}


@dataclass(frozen=True, slots=True)
class Search:
    """For the highest rate of these calls."""

    server: ServerUnderTest
    calls: list[Call]
    slo_ms: float  # milliseconds of the 99th percentile
    seconds: float  # of each measurement
    seed: int
    tried: list[dict[str, Any]] = field(default_factory=list)  # the repeat of each rate

    def highest(self, bound: float, steps: int) -> float:
        """Calls a second: bisects between 0 and the bound, and tries the rate found with two other seeds.

        The rate counts if one of these two meets the SLO again; otherwise a lower one is tried, and so on.
        """
        met, missed = 0.0, bound
        for _ in range(steps):
            rate = (met + missed) / 2
            met, missed = (rate, missed) if self._meets(rate, 0) else (met, rate)
        while met > bound / 2**steps and not any(self._meets(met, more) for more in (1, 2)):
            met *= DOWN
        return met

    @property
    def is_bounded_by_generator(self) -> bool:
        """Whether the server was never the limit: no rate missed the SLO, or the generator was late at the lowest."""
        missed = [repeat for repeat in self.tried if not meets(repeat, self.slo_ms)]
        if not missed:
            return True
        first = min(missed, key=lambda repeat: float(repeat["offered_calls_per_second"]))
        late = first["sent_late_us"]
        return late is not None and late["p99"] > LATE * self.slo_ms * 1000

    def _meets(self, rate: float, more: int) -> bool:
        seconds = max(self.seconds, LONG * self.slo_ms / 1000)
        repeat = open_repeat(self.server, self.calls, rate=rate, seconds=seconds, seed=self.seed + more)
        self.tried.append(repeat)
        return meets(repeat, self.slo_ms)


def meets(repeat: dict[str, Any], slo_ms: float) -> bool:
    """Whether all calls of a repeat were answered, and 99 % of them in time."""
    return bool(not repeat["failed"] and repeat["latency_us"] and repeat["latency_us"]["p99"] <= slo_ms * 1000)
