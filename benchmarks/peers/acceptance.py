"""What our server must reach, most of it as ratios within one round, and whether it does."""

import operator
from collections.abc import Sequence
from statistics import StatisticsError, median
from typing import Any

from digits.benchmarks.load.call import CLASSIFY, FP32, UINT8
from digits.benchmarks.peers.catalogue import TRITON_PEER
from digits.benchmarks.peers.overload import PATIENCE
from digits.benchmarks.peers.report import in_turn, ratios, repeats_of
from digits.benchmarks.section import Row
from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import BASELINE, ECHO, OURS, SPINNING

Line = dict[str, Any]  # `what`, `value`, `wanted` (a bound such as ">= 10", or empty) and `met`

RATE, IMAGES, CPU = "calls_per_second", "images_per_second", "cpu_us"
LATE = 0.1  # seconds after its deadline in which a call's status may arrive
RUNS = 4  # of a single image in process, by which a call over one connection may take longer than an echo
EXPECTED = ("OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")  # statuses of an overload
OURS_TITLE, ECHO_TITLE, BASELINE_TITLE = TITLES[OURS], TITLES[ECHO], TITLES[BASELINE]
OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
# Text, the measure, system and load of both sides, the bound. A load: kind of call, images, connections.
RATIOS = (
    ("rate over grpc.aio's, 16 connections", RATE, BASELINE_TITLE, (CLASSIFY, 1, 16), ">= 10"),
    ("rate over grpc.aio's, 64 connections", RATE, BASELINE_TITLE, (CLASSIFY, 1, 64), ">= 14"),
    ("rate over the echo's, 16 connections", RATE, ECHO_TITLE, (CLASSIFY, 1, 16), ">= 0.55"),
    ("rate over the echo's, 64 connections", RATE, ECHO_TITLE, (CLASSIFY, 1, 64), ">= 0.7"),
    ("CPU of a call over the echo's, 64 connections", CPU, ECHO_TITLE, (CLASSIFY, 1, 64), "<= 1.5"),
)
OVER_TRITON = (((UINT8, 1, 16), ">= 3.5"), ((FP32, 1, 16), "> 1"))


def acceptance(rows: Sequence[Row], findings: dict[str, Any]) -> list[Line]:
    """What could be measured, by the median of the rounds' ratios."""
    found = [
        (what, ratios(repeats_of(rows, OURS_TITLE, load), repeats_of(rows, other, load), measure), wanted)
        for what, measure, other, load, wanted in RATIOS
    ]
    found += _others(rows, findings["in_process"])
    triton = TRITON_PEER.title
    for load, wanted in OVER_TRITON:
        pairs = ratios(repeats_of(rows, in_turn(triton), load), repeats_of(rows, triton, load), RATE)
        found.append((f"{load[0]} over {triton}, 16 connections", pairs, wanted))
    lines = []
    for what, values, wanted in found:
        try:
            lines.append(_line(what, median(values), wanted))
        except StatisticsError:
            continue  # a server or a load has been left out
    if findings["in_process"]:
        own = [row for row in rows if row["system"] in TITLES.values()]
        failed = sum(sum(repeat["failed"].values()) for row in own for repeat in row["repeats"])
        lines.append(_line("calls that failed", failed, "<= 0"))
    if findings["ready_seconds"]:
        lines.append(_line("seconds from exec to ready", median(findings["ready_seconds"]), "< 1"))
    if memory := findings.get("memory"):
        first, last = (f"{memory['calls'][place]:,}" for place in (0, -1))
        resident = memory["resident_mb"]
        lines.append(_line(f"MB resident after {last} calls", resident[-1], "<= 120"))
        lines.append(_line(f"MB more after {last} calls than after {first}", resident[-1] - resident[0], "<= 5"))
    return lines + (_of_overload(findings["overload"]) if "overload" in findings else [])


def _others(rows: Sequence[Row], in_process: Sequence[dict[str, float]]) -> list[tuple[str, list[float], str]]:
    """The ratios that are not of the same measure under the same load."""
    single, many = (CLASSIFY, 1, 1), (CLASSIFY, 64, 4)
    spinning, echo = repeats_of(rows, TITLES[SPINNING], single), repeats_of(rows, ECHO_TITLE, single)
    latencies = [
        ours["latency_us"]["p50"] / (bound["latency_us"]["p50"] + RUNS * alone["microseconds"])
        for ours, bound, alone in zip(spinning, echo, in_process, strict=False)
    ]
    infer, classify = (repeats_of(rows, OURS_TITLE, (kind, 1, 64)) for kind in (UINT8, CLASSIFY))
    return [
        (f"p50 over the echo's and {RUNS} runs, 1 connection, spinning", latencies, "<= 1"),
        (
            "images over those in process, 64 a call, 4 connections",
            ratios(repeats_of(rows, OURS_TITLE, many), in_process, IMAGES),
            ">= 0.7",
        ),
        ("ModelInfer UINT8 over Classify, 64 connections", ratios(infer, classify, RATE), ">= 0.8"),
    ]


def _of_overload(found: dict[str, Any]) -> list[Line]:
    lines = []
    for load in found["loads"]:
        times = f"{load['factor']:g} times the capacity offered"
        other = sum(load["probe"].values()) - sum(load["probe"].get(code, 0) for code in EXPECTED)
        lines += [
            _line(f"images answered over the capacity, {times}", load["goodput"] / found["capacity"], ">= 0.6"),
            _line(f"probe calls with another status, {times}", other, "<= 0"),
            _line(f"seconds of the probe's longest call, {times}", load["probe_longest"], f"<= {PATIENCE + LATE}"),
            _line(f"MB more a second after {times}", load["after_mb"] - found["start_mb"], "<= 20"),
            _line(
                f"time of a single call, a second after {times}",
                load["single_after"] / found["single_seconds"],
                "<= 1.25",
            ),
        ]
    return lines


def _line(what: str, value: float, wanted: str) -> Line:
    sign, _, bound = wanted.partition(" ")
    return {"what": what, "value": round(value, 3), "wanted": wanted, "met": OPERATORS[sign](value, float(bound))}
