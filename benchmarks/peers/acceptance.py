"""What the server has to reach, each as a ratio within one round, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import StatisticsError, median
from typing import TYPE_CHECKING

from digits.benchmarks.cells import CLASSIFY_1, CLASSIFY_16, CLASSIFY_64, FP32, IMAGES_64, UINT8, UINT8_64, Cell
from digits.benchmarks.peers.overload import PATIENCE
from digits.benchmarks.peers.triton import TITLE
from digits.benchmarks.settings import BASELINE, ECHO, OURS, SPINNING, TRITON

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.benchmarks.peers.overload import OverloadResult
    from digits.benchmarks.peers.result import PeersResult, Round

LATE = 0.1  # seconds after its deadline in which a call's status may come
RUNS = 4  # of a single image in process, that a call over one connection may take longer than an echo


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to reach: `wanted` is a bound, such as ">= 10", or empty where it is only told."""

    what: str
    value: float
    wanted: str
    met: bool


def acceptance(result: PeersResult) -> list[Line]:
    """What could be measured, by the median of the rounds' ratios."""
    lines = []
    for what, of, wanted in RATIOS:
        try:
            value = median(of(each) for each in result.rounds)
        except (KeyError, StatisticsError):
            continue  # a server or a cell has been left out
        lines.append(_line(what, value, wanted))
    lines += [
        _line(f"{pairs.cell.call} over {TITLE}, 16 connections", pairs.ratio, OVER_TRITON[pairs.cell])
        for duel in result.duels
        for pairs in duel.loads
        if duel.peer.name == TRITON and pairs.cell in OVER_TRITON and pairs.ratio is not None
    ]
    if result.rounds:
        lines.append(_line("calls that failed", result.failed, "<= 0"))
    if result.ready_seconds:
        lines.append(_line("seconds from exec to ready", median(result.ready_seconds), "< 1"))
    if result.memory is not None:
        first, last = (f"{calls:,}" for calls in (result.memory.calls[0], result.memory.calls[-1]))
        lines.append(_line(f"MB resident after {last} calls", result.memory.resident_mb[-1], "<= 120"))
        lines.append(_line(f"MB more after {last} calls than after {first}", result.memory.growth_mb, "<= 5"))
    if result.overload is not None:
        lines += _of_overload(result.overload)
    return lines


def _of_overload(flood: OverloadResult) -> list[Line]:
    lines = []
    for load in flood.loads:
        of = f"{load.factor:g} times the capacity offered"
        lines += [
            _line(f"images answered over the capacity, {of}", load.goodput / flood.capacity, ">= 0.6"),
            _line(f"probe calls with another status, {of}", sum(load.probe.values()) - _expected(load.probe), "<= 0"),
            _line(f"seconds of the probe's longest call, {of}", load.probe_longest, f"<= {PATIENCE + LATE}"),
            _line(f"MB more a second after {of}", load.after_mb - flood.start_mb, "<= 20"),
            _line(f"time of a lone call, a second after {of}", load.lone_after / flood.lone, "<= 1.25"),
        ]
    return lines


def _expected(probe: dict[str, int]) -> int:
    return sum(probe.get(code, 0) for code in ("OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"))


def _rate(cell: Cell, other: str) -> Callable[[Round], float]:
    return lambda each: each.rate(OURS, cell) / each.rate(other, cell)


def _latency(each: Round) -> float:
    return each.p50(SPINNING, CLASSIFY_1) / (each.p50(ECHO, CLASSIFY_1) + RUNS * each.in_process.microseconds)


RATIOS: tuple[tuple[str, Callable[[Round], float], str], ...] = (
    ("rate over grpc.aio's, 16 connections", _rate(CLASSIFY_16, BASELINE), ">= 10"),
    ("rate over grpc.aio's, 64 connections", _rate(CLASSIFY_64, BASELINE), ">= 14"),
    ("rate over the echo's, 16 connections", _rate(CLASSIFY_16, ECHO), ">= 0.55"),
    ("rate over the echo's, 64 connections", _rate(CLASSIFY_64, ECHO), ">= 0.7"),
    (
        "CPU of a call over the echo's, 64 connections",
        lambda each: each.cpu(OURS, CLASSIFY_64) / each.cpu(ECHO, CLASSIFY_64),
        "<= 1.5",
    ),
    (f"p50 over the echo's and {RUNS} runs, 1 connection, spinning", _latency, "<= 1"),
    (
        "images over those in process, 64 a call, 4 connections",
        lambda each: each.of(OURS, IMAGES_64).images_per_second / each.in_process.images_per_second,
        ">= 0.7",
    ),
    (
        "ModelInfer UINT8 over Classify, 64 connections",
        lambda each: each.rate(OURS, UINT8_64) / each.rate(OURS, CLASSIFY_64),
        ">= 0.8",
    ),
)
OVER_TRITON = {Cell(UINT8, 1, 16): ">= 3.5", Cell(FP32, 1, 16): "> 1"}


def _line(what: str, value: float, wanted: str) -> Line:
    sign, _, bound = wanted.partition(" ")
    met = not wanted or {
        ">=": lambda limit: value >= limit,
        ">": lambda limit: value > limit,
        "<=": lambda limit: value <= limit,
        "<": lambda limit: value < limit,
    }[sign](float(bound))
    return Line(what, round(value, 3), wanted, met)
