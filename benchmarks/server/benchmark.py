"""A server under load: closed loop, open loop, mixed sizes, and the highest rate that keeps a promise.

A measurement's `load` has `loop` (closed or open), `method`, `images` in a call (or the sizes that are mixed),
`connections`, `streams` and `generator`; in the open loop `share` of what the generator's closed loop reached, or the
`rate` that was asked for. A row of a search for the highest rate has a repeat for each rate that was tried,
`highest_calls_per_second`, and `at_least` where our generator was at its end before the server. Beside the caller's
latencies a repeat has the server's own times: `server_queue_us` and `server_compute_us`, the means of a call; and where
it was started here, `cpu_us` for each call and `resident_mb`. What others call meanwhile is in the server's times too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from digits.benchmarks.cells import CLASSIFY, UINT8
from digits.benchmarks.clear_digits import clear_digits
from digits.benchmarks.h2load import installed, require_h2load
from digits.benchmarks.measurement import measurement, measuring
from digits.benchmarks.server import loads
from digits.benchmarks.server.loads import CONNECTIONS, MIXED, WARM_UP
from digits.benchmarks.server.saturation import Search
from digits.benchmarks.server.subjects import subjects
from digits.benchmarks.server.table import promise, server_table, words
from digits.benchmarks.settings import ECHO
from digits.images import mnist
from digits.model.repository import open_repository

if TYPE_CHECKING:
    from digits.benchmarks.generator import Request
    from digits.benchmarks.server.loads import Images
    from digits.benchmarks.server.meter import Subject
    from digits.benchmarks.settings import ServerBenchmarkSettings

MANY = 64  # images in a call, over few connections: where the model is the limit, and not the calls
BOTH = 16  # connections, at which both protocols are measured
SHARES = (0.25, 0.5, 0.75)  # of what the closed loop reached: the rates of the open loop
STEPS = 5  # of the search for the highest rate
LONGER = 3  # times as long as others the open loop's measurements take, for its rarest calls


def run(settings: ServerBenchmarkSettings) -> None:
    """Loads the server, or one over each transport, beside an echo, and writes down what came of it.

    Raises:
        BenchmarkError: no server answers, one is gone in the middle, or an answer is wrong.
    """
    if settings.quick:
        settings = replace(settings, connections=(1, BOTH), seconds=min(settings.seconds, 0.2), repeats=1)
    data = mnist.load(settings.data)
    images = clear_digits(open_repository(settings.models).open(), data)
    head = measurement(
        "server",
        settings,
        data,
        seed=settings.seed,
        warm_up=f"{WARM_UP} s of the same load before each",
        repeats=settings.repeats,
    )
    if _by_h2load(settings):
        head["versions"]["h2load"] = require_h2load()
    with subjects(settings, *images) as found, measuring(head, settings.out) as measurements:
        bench = _Bench(settings, images, found, measurements)
        limits = bench.limits()
        bench.closed_loop()
        bench.open_loop(limits)
        if not settings.quick:
            bench.mixed_sizes()
        bench.highest_rates(limits)
        print(f"\n{server_table(measurements)}", flush=True)


class _Bench:
    def __init__(
        self,
        settings: ServerBenchmarkSettings,
        images: Images,
        found: list[Subject],
        measurements: list[dict[str, Any]],
    ) -> None:
        self._settings = settings
        self._images = images
        self._subjects = found
        self._ours = [subject for subject in found if subject.name != ECHO]
        self._measurements = measurements

    def limits(self) -> dict[str, float]:
        """Calls a second of one image that our own generator gets answered: by the echo, its own limit."""
        return {
            subject.name: self._by_generator(subject, [loads.request(loads.call(subject, self._images, 1))], 1)
            for subject in self._subjects
        }

    def closed_loop(self) -> None:
        """Every load goes to one server after the other, and all of them again in each repeat."""
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for number in range(self._settings.repeats):
            for method, count, connections in self._cells():
                for subject in self._ours if count > 1 else self._subjects:
                    key = (subject.name, method, count, connections)
                    if key not in rows:
                        rows[key] = self._add(subject, self._closed(method, count, connections), [])
                    seen = self._closed_repeat(subject, method, count, connections)
                    rows[key]["repeats"].append(seen)
                    self._say(f"{number + 1}/{self._settings.repeats}", rows[key], seen)

    def open_loop(self, limits: dict[str, float]) -> None:
        """At each rate one server after the other."""
        settings = self._settings
        shares = SHARES[1:2] if settings.quick else SHARES
        for number, share in enumerate(settings.rates or shares):
            for subject in self._ours:
                what, rate = ("rate", float(share)) if settings.rates else ("share", share * limits[subject.name])
                requests = [loads.request(loads.call(subject, self._images, 1))]
                seconds, seed = LONGER * settings.seconds, settings.seed + number
                seen = loads.in_the_open(subject, requests, rate=rate, seconds=seconds, seed=seed)
                self._say("open loop", self._add(subject, self._open(1) | {what: share}, [seen]), seen)

    def mixed_sizes(self) -> None:
        """In the closed loop, and in the open one at half of that."""
        settings, sizes = self._settings, ",".join(map(str, MIXED))
        for subject in self._ours:
            requests = loads.mixed(subject, self._images, settings.seed)
            rate = self._by_generator(subject, requests, sizes) / 2
            seen = loads.in_the_open(subject, requests, rate=rate, seconds=settings.seconds, seed=settings.seed)
            self._say("mixed sizes", self._add(subject, self._open(sizes) | {"share": 0.5}, [seen]), seen)

    def highest_rates(self, limits: dict[str, float]) -> None:
        """With calls of one image, where the generator may be the limit, and of many."""
        settings = self._settings
        for count in (MANY,) if settings.quick else (1, MANY):
            for subject in self._ours:
                requests = [loads.request(loads.call(subject, self._images, count))]
                limit = limits[subject.name] if count == 1 else self._by_generator(subject, requests, count)
                search = Search(subject, requests, settings.slo, settings.seconds, settings.seed)
                rate = search.highest(1.1 * limit, 2 if settings.quick else STEPS)
                row = self._add(subject, self._open(count) | {"slo_ms": settings.slo}, search.tried)
                row |= {"highest_calls_per_second": round(rate, 1), "at_least": search.is_bounded_by_generator}
                print(f"{subject.name}: {promise(row)}", flush=True)

    def _cells(self) -> list[tuple[str, int, int]]:
        """Method, images and connections."""
        cells = [(CLASSIFY, 1, connections) for connections in self._settings.connections]
        return cells if self._settings.quick else [*cells, (UINT8, 1, BOTH), (CLASSIFY, MANY, CONNECTIONS)]

    def _closed_repeat(self, subject: Subject, method: str, count: int, connections: int) -> dict[str, Any]:
        made, settings = loads.call(subject, self._images, count, method), self._settings
        if _by_h2load(settings):
            return loads.by_h2load(
                subject, made, connections=connections, streams=settings.streams, seconds=settings.seconds
            )
        return self._generated(subject, [loads.request(made)], connections)

    def _generated(self, subject: Subject, requests: list[Request], connections: int) -> dict[str, Any]:
        settings = self._settings
        return loads.by_generator(
            subject, requests, connections=connections, streams=settings.streams, seconds=settings.seconds
        )

    def _by_generator(self, subject: Subject, requests: list[Request], count: int | str) -> float:
        """Calls a second of our own generator's closed loop, which are written down too."""
        seen = self._generated(subject, requests, BOTH)
        load = self._closed(CLASSIFY, count, BOTH) | {"generator": "asyncio"}
        self._say("own generator", self._add(subject, load, [seen]), seen)
        return float(seen["calls_per_second"])

    def _closed(self, method: str, count: int | str, connections: int) -> dict[str, Any]:
        return {
            "loop": "closed",
            "method": method,
            "images": count,
            "connections": connections,
            "streams": self._settings.streams,
            "generator": "h2load" if _by_h2load(self._settings) else "asyncio",
        }

    def _open(self, count: int | str) -> dict[str, Any]:
        where = {"connections": CONNECTIONS, "generator": "asyncio"}
        return {"loop": "open", "method": CLASSIFY, "images": count, **where}

    def _add(self, subject: Subject, load: dict[str, Any], repeats: list[dict[str, Any]]) -> dict[str, Any]:
        row = {"subject": subject.name, "load": load, "repeats": repeats}
        self._measurements.append(row)
        return row

    @staticmethod
    def _say(when: str, row: dict[str, Any], seen: dict[str, Any]) -> None:
        print(f"{when}: {row['subject']}: {words(row['load'])}: {seen['calls_per_second']:,.0f} calls/s", flush=True)


def _by_h2load(settings: ServerBenchmarkSettings) -> bool:
    """Whether h2load makes the load of the closed loop. Raises BenchmarkError if it is to, and is not installed."""
    if settings.generator == "h2load":
        require_h2load()
    return settings.generator != "asyncio" and installed()
