"""The report of `digits bench engine`: images a second by batch size, and the roofline."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from digits.benchmarks.engine.figure import throughput
from digits.benchmarks.engine.panels import in_threads, named
from digits.benchmarks.engine.roofline_figure import roofs
from digits.benchmarks.report.section import Drawing, Section
from digits.report.figure import png
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def engine_section(result: dict[str, Any], _folder: Path) -> Section:
    findings = result["findings"]
    rows = [row for row in result["measurements"] if "batch" in row["load"]]
    refused = findings["not_served"]
    drawings = [
        Drawing(
            "engine-throughput.png",
            png(throughput(rows, refused)),
            "images a second by batch size",
            "Images a second by batch size; bars reach from the slowest repeat to the fastest.",
        )
    ]
    if "roofline" in findings:
        drawings.append(
            Drawing(
                "engine-roofline.png",
                png(roofs(findings["roofline"], refused)),
                "roofline",
                "The roofline (S. Williams, A. Waterman and D. Patterson, 2009): what the machine's measured peaks of "
                "matrix products and of memory allow, by the arithmetic that a batch does for each byte.",
            )
        )
    tables = [_table(rows, threads, refused) for threads in sorted({row["load"]["threads"] for row in rows})]
    text = ["Images a second; below, the microseconds of the median run in brackets."]
    text += [f"{name} is not served on this CPU: {why}." for name, why in _reasons(refused).items()]
    return Section("How fast is the model itself?", result, text, tables, drawings)


def _reasons(refused: object) -> Mapping[str, str]:
    return refused if isinstance(refused, dict) else {}


def _table(rows: list[dict[str, Any]], threads: int, refused: Any) -> Table:
    of = [row for row in rows if row["load"]["threads"] == threads]
    batches = sorted({row["load"]["batch"] for row in of})
    cells = {(row["subject"], row["load"]["batch"]): _cell(row) for row in of}
    names = dict.fromkeys(row["subject"] for row in of)
    shown = [[named(name, refused), *(cells.get((name, batch), "") for batch in batches)] for name in names]
    return Table((f"{in_threads(threads)}, batches of", *map("{:,}".format, batches)), shown)


def _cell(row: dict[str, Any]) -> str:
    rate = median(one["images_per_second"] for one in row["repeats"])
    microseconds = median(one["latency_us"]["p50"] for one in row["repeats"])
    return f"{rate:,.0f} ({microseconds:,.0f})"
