"""Whether B is slower than A: two builds, measured in turn, or two files of results, which only give an indication.

Both servers stay up; the idle one takes no time. Pairs alternate, A B, B A, A B, ..., so that a drift favours neither,
and are short and many, so that a disturbance hits both of a pair or few pairs. B is slower if, under any load, it
answers fewer calls a second or takes more processor time for a call, by more than the limit, and the whole interval of
that is on the wrong side. Both count: waiting shows in the rate only, and what other processes do to the machine shows
in the rate far more than in the server's own processor time.

The JSON has measurements of A and B by load, with a repeat for each pair; `findings` has the differences in percent.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from digits.benchmarks.compare import build, files
from digits.benchmarks.compare.verdict import GRID, A, B, Samples, compare_section, differences
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import clear_images
from digits.benchmarks.load.h2load import installed, require_h2load
from digits.benchmarks.load.measure import ASYNCIO, H2LOAD, ClosedLoop, Grid, ServerUnderTest, rates_text
from digits.benchmarks.measurement import measuring
from digits.benchmarks.settings import CompareBenchmarkSettings
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
    version = open_repository(None).open()
    golden = Golden.read(version.golden)
    images = clear_images(version, golden.pixels, golden.reference.argmax(axis=1))
    with ExitStack() as stack:
        builds = {name: stack.enter_context(build.opened(path)) for name, path in paths.items()}
        servers = [stack.enter_context(build.serving(name, one)) for name, one in builds.items()]
        warm_up = f"{WARM_UP} s of each load"
        bench = measuring("compare", settings, seed=settings.seed, warm_up=warm_up, repeats=pairs)
        result = stack.enter_context(bench)
        result.head["builds"] = {name: path.resolve().name for name, path in paths.items()}
        result.head["generator"] = require_h2load() if installed() else ASYNCIO
        loop = ClosedLoop(1, generator=H2LOAD if installed() else ASYNCIO, percentiles=False, warm_up=False)
        samples = _pairs(Grid(result, images, loop, settings.seconds), servers, pairs)
        found = differences(samples, settings.limit, settings.seed)
        slower = any(one["slower"] for one in found)
        result.findings.update({"limit": settings.limit, "slower": slower, "differences": found})
    result.show(compare_section)
    return slower


def _pairs(grid: Grid, servers: Sequence[ServerUnderTest], pairs: int) -> Samples:
    """All pairs, each kept as soon as it is complete. Raises BenchmarkError if a server fails.

    Our own generator is slower than the server and hides its rate; the processor time for each call still counts.
    """
    for point in GRID:
        for server in servers:
            grid.measured(server, point, WARM_UP)
    samples: Samples = {}
    for number in range(pairs):
        said = []
        for point in GRID:
            found = grid.turn(servers, point, number)
            said.append(f"{point}: {rates_text(found)}")
            for name, repeat in found.items():
                if repeat["failed"] or not repeat["calls"]:
                    raise BenchmarkError(f"{name}, {point}: {sum(repeat['failed'].values())} calls failed")
                samples.setdefault((point, name), []).append(repeat)
        if number % EVERY == 0:
            print(f"pair {number + 1}/{pairs}: {', '.join(said)}", flush=True)
    return samples
