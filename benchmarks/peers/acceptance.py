"""What our server must reach, most of it as ratios within one round, and whether it does."""

import operator
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from digits.benchmarks.load.call import CLASSIFY, FP32, UINT8, Point
from digits.benchmarks.load.measure import CPU, RATE
from digits.benchmarks.peers.overload import PATIENCE
from digits.benchmarks.peers.peer import CATALOGUE
from digits.benchmarks.peers.report import in_turn
from digits.benchmarks.section import Row, ratios, repeats_of
from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import BASELINE, ECHO, OURS, SPINNING

Line = dict[str, Any]  # `what`, `value`, `wanted` (a bound such as ">= 10") and `met`

IMAGES = "images_per_second"
LATE = 0.1  # seconds after its deadline in which a call's status may arrive
RUNS = 4  # of a single image in process, by which a call over one connection may take longer than an echo
EXPECTED = ("OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")  # statuses of an overload
OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
OURS_TITLE, ECHO_TITLE, TRITON = TITLES[OURS], TITLES[ECHO], CATALOGUE["triton"].title
FEW, MANY = Point(CLASSIFY, 1, 16), Point(CLASSIFY, 1, 64)
BASE, UINT8_MANY = TITLES[BASELINE], Point(UINT8, 1, 64)
INFER, FLOATS = Point(UINT8, 1, 16), Point(FP32, 1, 16)
# Text, the bound, the measure, and of both sides the system and the load.
RATIOS = (
    ("rate over grpc.aio's, 16 connections", ">= 10", RATE, OURS_TITLE, FEW, BASE, FEW),
    ("rate over grpc.aio's, 64 connections", ">= 14", RATE, OURS_TITLE, MANY, BASE, MANY),
    ("rate over the echo's, 16 connections", ">= 0.55", RATE, OURS_TITLE, FEW, ECHO_TITLE, FEW),
    ("rate over the echo's, 64 connections", ">= 0.7", RATE, OURS_TITLE, MANY, ECHO_TITLE, MANY),
    ("CPU of a call over the echo's, 64 connections", "<= 1.5", CPU, OURS_TITLE, MANY, ECHO_TITLE, MANY),
    ("ModelInfer UINT8 over Classify, 64 connections", ">= 0.8", RATE, OURS_TITLE, UINT8_MANY, OURS_TITLE, MANY),
    (f"ModelInfer UINT8 over {TRITON}, 16 connections", ">= 3.5", RATE, in_turn(TRITON), INFER, TRITON, INFER),
    (f"ModelInfer FP32 over {TRITON}, 16 connections", "> 1", RATE, in_turn(TRITON), FLOATS, TRITON, FLOATS),
)


def acceptance(rows: Sequence[Row], findings: dict[str, Any]) -> list[Line]:
    """What could be measured: of ratios the median of the rounds'."""
    lines = []
    for what, value, wanted in [*_of_rounds(rows, findings["in_process"]), *_of_ours(rows, findings)]:
        sign, _, bound = wanted.partition(" ")
        met = OPERATORS[sign](value, float(bound))
        lines.append({"what": what, "value": round(value, 3), "wanted": wanted, "met": met})
    return lines


def _of_rounds(rows: Sequence[Row], in_process: Sequence[dict[str, float]]) -> Iterator[tuple[str, float, str]]:
    found = [
        (what, ratios(repeats_of(rows, ours, **load.load), repeats_of(rows, other, **its.load), measure), wanted)
        for what, wanted, measure, ours, load, other, its in RATIOS
    ]
    single, batches = Point(CLASSIFY, 1, 1), repeats_of(rows, OURS_TITLE, **Point(CLASSIFY, 64, 4).load)
    spinning, echo = (repeats_of(rows, TITLES[name], **single.load) for name in (SPINNING, ECHO))
    latencies = [
        ours["latency_us"]["p50"] / (bound["latency_us"]["p50"] + RUNS * alone["microseconds"])
        for ours, bound, alone in zip(spinning, echo, in_process, strict=False)
        if ours["latency_us"] and bound["latency_us"]
    ]
    found.append((f"p50 over the echo's and {RUNS} runs, 1 connection, spinning", latencies, "<= 1"))
    whole = ratios(batches, in_process, IMAGES)
    found.append(("images over those in process, 64 a call, 4 connections", whole, ">= 0.7"))
    return ((what, median(values), wanted) for what, values, wanted in found if values)


def _of_ours(rows: Sequence[Row], findings: dict[str, Any]) -> Iterator[tuple[str, float, str]]:
    if findings["in_process"]:
        own = [repeat for row in rows if row["system"] in TITLES.values() for repeat in row["repeats"]]
        yield "calls that failed", sum(sum(repeat["failed"].values()) for repeat in own), "<= 0"
    if findings["ready_seconds"]:
        yield "seconds from exec to ready", median(findings["ready_seconds"]), "< 1"
    if memory := findings.get("memory"):
        first, last = (f"{memory['calls'][place]:,}" for place in (0, -1))
        resident = memory["resident_mb"]
        yield f"MB resident after {last} calls", resident[-1], "<= 120"
        yield f"MB more after {last} calls than after {first}", resident[-1] - resident[0], "<= 5"
    over = findings.get("overload", {"loads": []})
    for load in over["loads"]:
        times = f"{load['factor']:g} times the capacity offered"
        other = sum(count for code, count in load["probe"].items() if code not in EXPECTED)
        yield f"images answered over the capacity, {times}", load["goodput"] / over["capacity"], ">= 0.6"
        yield f"probe calls with another status, {times}", other, "<= 0"
        yield f"seconds of the probe's longest call, {times}", load["probe_longest"], f"<= {PATIENCE + LATE}"
        yield f"MB more a second after {times}", load["after_mb"] - over["start_mb"], "<= 20"
        single = load["single_after"] / over["single_seconds"]
        yield f"time of a single call, a second after {times}", single, "<= 1.25"
