"""Two builds in turn, pair after pair: so short that the machine's moods meet both, and so many that they average out.

Both servers stay up; the idle one takes no time. Pairs go A B, B A, A B, ..., lest a drift favour one. B is slower if,
under any load, it answers fewer calls a second or takes more processor time for a call, by more than the limit, and the
interval of that lies wholly on the wrong side. Both count: waiting shows in the rate alone, and what other processes do
to the machine shows in the rate far more than in the server's own processor time.

The JSON's measurements are of A and B by load, with a repeat for each pair; `findings` has the differences in percent.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

from digits.benchmarks.compare import build
from digits.benchmarks.compare.load import CELLS, RATE, A, B, calls, generator, sample
from digits.benchmarks.compare.verdict import as_json, differences, in_words, is_slower
from digits.benchmarks.measurement import measurement, measuring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from digits.benchmarks.calls import Call
    from digits.benchmarks.cells import Cell
    from digits.benchmarks.process import ServerProcess
    from digits.benchmarks.settings import CompareBenchmarkSettings

WARM_UP = 0.2  # seconds of each load
QUICK = 8  # pairs
EVERY = 10  # pairs between two lines of progress


def run(a: Path, b: Path, settings: CompareBenchmarkSettings) -> bool:
    """Whether B is slower than A. Raises BenchmarkError if one is no build, does not serve, or answers wrongly."""
    pairs = min(settings.pairs, QUICK) if settings.quick else settings.pairs
    findings: dict[str, Any] = {}
    head = measurement("compare", settings, seed=settings.seed, warm_up=f"{WARM_UP} s of each load", repeats=pairs)
    head |= {"builds": {A: a.resolve().name, B: b.resolve().name}, "generator": generator(), "findings": findings}
    with ExitStack() as stack:
        servers = _started(stack, {A: a, B: b})
        measurements = stack.enter_context(measuring(head, settings.out))
        samples = _measured(servers, pairs, settings.seconds, measurements)
        found = differences(samples, settings.seed)
        findings |= {"slower": is_slower(found, settings.limit), "differences": as_json(found, settings.limit)}
    print(f"\n{in_words(found, settings.limit)}", flush=True)
    return is_slower(found, settings.limit)


def _started(stack: ExitStack, paths: Mapping[str, Path]) -> dict[str, ServerProcess]:
    servers = {}
    for name, path in paths.items():
        servers[name] = stack.enter_context(build.serving(stack.enter_context(build.opened(path))))
        print(f"{name}: {path}: ready in {servers[name].ready_seconds:.2f} s", flush=True)
    return servers


def _measured(
    servers: Mapping[str, ServerProcess], pairs: int, seconds: float, measurements: list[dict[str, Any]]
) -> dict[tuple[Cell, str], list[dict[str, float]]]:
    """All pairs, which are added to the measurements as soon as they are whole."""
    every = {(call.cell, call.server): call for call in calls()}
    for call in every.values():
        sample(call, servers[call.server], WARM_UP)
    samples: dict[tuple[Cell, str], list[dict[str, float]]] = {key: [] for key in every}
    for number in range(pairs):
        for cell in CELLS:
            pair = {name: sample(every[cell, name], servers[name], seconds) for name in _order(number)}
            for name in (A, B):
                samples[cell, name].append(pair[name])
        if number == 0:
            measurements += [_measurement(call, samples[key]) for key, call in every.items()]
        if number % EVERY == 0:
            print(f"pair {number + 1}/{pairs}: {'; '.join(_rates(cell, samples) for cell in CELLS)}", flush=True)
    return samples


def _order(number: int) -> tuple[str, str]:
    return (B, A) if number % 2 else (A, B)


def _measurement(call: Call, repeats: list[dict[str, float]]) -> dict[str, Any]:
    cell = call.cell
    load = {"loop": "closed", "method": cell.call, "images": cell.images, "connections": cell.connections, "streams": 1}
    return {"subject": call.server, "load": load, "repeats": repeats}


def _rates(cell: Cell, samples: Mapping[tuple[Cell, str], Sequence[Mapping[str, float]]]) -> str:
    rates = [f"{name} {median(one[RATE] for one in samples[cell, name]):,.0f}/s" for name in (A, B)]
    return f"{cell.name}: {', '.join(rates)}"
