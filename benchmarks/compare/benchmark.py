"""Whether B is slower than A: two builds, measured in turn, or two files of results, which only give an indication.

Both servers stay up; the idle one takes no time. Pairs alternate, A B, B A, A B, ..., so that a drift favours neither,
and are short and many, so that a disturbance hits both of a pair or few pairs. B is slower if, under any load, it
answers fewer calls a second or takes more processor time for a call, by more than the limit, and the whole interval of
that is on the wrong side. Both count: waiting shows in the rate only, and what other processes do to the machine shows
in the rate far more than in the server's own processor time.

The JSON has measurements of A and B by load, with a repeat for each pair; `findings` has the differences in percent.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from digits.benchmarks.compare import build, files
from digits.benchmarks.compare.verdict import CPU, GRID, RATE, A, B, Point, Samples, compare_section, differences
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import call_of, clear_images, point_text
from digits.benchmarks.load.h2load import installed, require_h2load
from digits.benchmarks.load.measure import ASYNCIO, H2LOAD, ClosedLoop, ServerUnderTest
from digits.benchmarks.measurement import Result, measuring
from digits.benchmarks.settings import OURS, CompareBenchmarkSettings
from digits.model.golden import Golden
from digits.model.repository import open_repository

WARM_UP = 0.2  # seconds of each load
QUICK = 8  # pairs
EVERY = 10  # pairs between two lines of progress


def run(a: Path, b: Path, settings: CompareBenchmarkSettings) -> bool:
    """Compares them, prints the result, and returns whether B is slower, which two files never show.

    Raises:
        BenchmarkError: one of them is neither a build nor a file of `digits bench server`, or only one is a file; a
            build does not serve, or answers wrongly.
    """
    match [path for path in (a, b) if path.suffix == ".json"]:
        case []:
            return _builds({A: a, B: b}, settings)
        case [alone]:
            raise BenchmarkError(f"{alone}: a file is only compared with another file; give two files or two builds")
        case _:
            files.run(a, b, settings)
            return False


def _builds(paths: Mapping[str, Path], settings: CompareBenchmarkSettings) -> bool:
    pairs = min(settings.pairs, QUICK) if settings.quick else settings.pairs
    with ExitStack() as stack:
        servers = {}
        for name, path in paths.items():
            servers[name] = stack.enter_context(build.serving(name, stack.enter_context(build.opened(path))))
        warm_up = f"{WARM_UP} s of each load"
        bench = measuring("compare", settings, seed=settings.seed, warm_up=warm_up, repeats=pairs)
        result = stack.enter_context(bench)
        result.head["builds"] = {name: path.resolve().name for name, path in paths.items()}
        result.head["generator"] = require_h2load() if installed() else ASYNCIO
        samples = Pairs(servers, result).measured(pairs, settings.seconds)
        found = differences(samples, settings.limit, settings.seed)
        slower = any(one["slower"] for one in found)
        result.findings.update({"limit": settings.limit, "slower": slower, "differences": found})
    result.show(compare_section)
    return slower


class Pairs:
    """Measures both builds in turn, into a result."""

    def __init__(self, servers: Mapping[str, ServerUnderTest], result: Result) -> None:
        self._servers, self._result = servers, result
        self._generator = H2LOAD if installed() else ASYNCIO
        version = open_repository(None).open()
        golden = Golden.read(version.golden)
        self._images = clear_images(version, golden.pixels, golden.reference.argmax(axis=1))
        self._samples: dict[tuple[Point, str], list[dict[str, float]]] = {}

    def measured(self, pairs: int, seconds: float) -> Samples:
        """All pairs, each appended as soon as it is complete. Raises BenchmarkError if a server fails."""
        for point in GRID:
            for name in self._servers:
                self._sample(point, name, WARM_UP)
        for number in range(pairs):
            for point in GRID:
                order = (B, A) if number % 2 else (A, B)
                pair = {name: self._sample(point, name, seconds) for name in order}
                for name in (A, B):
                    self._repeats(point, name).append(pair[name])
            if number % EVERY == 0:
                print(f"pair {number + 1}/{pairs}: {'; '.join(map(self._rates, GRID))}", flush=True)
        return self._samples

    def _sample(self, point: Point, name: str, seconds: float) -> dict[str, float]:
        """The rate, and the microseconds of the server's processor time for each call.

        Our own generator is slower than the server and hides its rate; the processor time for each call still counts.
        """
        kind, images, connections = point
        call = call_of(kind, OURS, self._images, images)
        loop = ClosedLoop(connections, generator=self._generator, percentiles=False, warm_up=False)
        try:
            repeat = loop.measured(self._servers[name], [call], seconds)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}, under {point_text(*point)}") from error
        if repeat["failed"] or not repeat["calls"]:
            raise BenchmarkError(f"{name}, {point_text(*point)}: {sum(repeat['failed'].values())} calls failed")
        return {RATE: repeat[RATE], CPU: repeat[CPU]}

    def _repeats(self, point: Point, name: str) -> list[dict[str, float]]:
        if (point, name) not in self._samples:
            kind, images, connections = point
            load = {"loop": "closed", "method": kind, "images": images, "connections": connections, "streams": 1}
            self._samples[point, name] = self._result.repeats(name, load)
        return self._samples[point, name]

    def _rates(self, point: Point) -> str:
        rates = [f"{name} {np.median([one[RATE] for one in self._samples[point, name]]):,.0f}/s" for name in (A, B)]
        return f"{point_text(*point)}: {', '.join(rates)}"
