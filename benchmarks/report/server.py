"""The report of `digits bench server`: latency by percentile, calls by connections, and all of it in a table."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from digits.benchmarks.report.section import Drawing, Section
from digits.benchmarks.server.table import HEAD, promise, rarest, table_rows
from digits.report.figure import RUNS, png, tidy
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from matplotlib.axes import Axes

MARKERS = "os^Dv"
HOW = (
    "In the closed loop a call follows as soon as another is answered. In the open loop calls come at random times, at "
    "a share of what our own generator gets answered in its closed loop, and count from when they were to be sent. "
    "`sent late` is what the generator itself was late by; `CPU` is the server's for each call; `queue` and `compute` "
    "are its own account of a call. A percentile beyond which fewer than five calls lie is left out."
)
TICKS = (0, 50, 90, 99, 99.9, 99.99)  # percentiles that are named


def server_section(result: dict[str, Any], _folder: Path) -> Section:
    measurements = result["measurements"]
    text = [HOW, *(f"{row['subject']}: {promise(row)}." for row in measurements if "at_least" in row)]
    return Section(
        "A server under load", result, text, [Table(HEAD, table_rows(measurements), 2)], list(_drawings(measurements))
    )


def _drawings(measurements: list[dict[str, Any]]) -> Iterable[Drawing]:
    closed = [row for row in measurements if _is(row, loop="closed", method="Classify", images=1)]
    by_generator = {row["load"]["generator"] for row in closed}
    best = "h2load" if "h2load" in by_generator else "asyncio"
    closed = [row for row in closed if row["load"]["generator"] == best]
    if closed:
        yield Drawing(
            "server-throughput.png",
            png(_throughput(closed)),
            "calls a second by connections",
            f"Calls of one image a second by connections, by {best}; bars are all repeats.",
        )
    opened = [row for row in measurements if _is(row, loop="open", images=1) and "slo_ms" not in row["load"]]
    if opened:
        yield Drawing(
            "server-latency.png",
            png(_latency(opened)),
            "latency by percentile in the open loop",
            "How long calls took from when they were to be sent, in the open loop: a line for each rate. To the right "
            "are the rarest; both axes are logarithmic.",
        )


def _is(row: dict[str, Any], **wanted: object) -> bool:
    return all(row["load"].get(name) == value for name, value in wanted.items())


def _throughput(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, subject in enumerate(dict.fromkeys(row["subject"] for row in rows)):
        own = sorted((row for row in rows if row["subject"] == subject), key=lambda row: row["load"]["connections"])
        rates = [[repeat["calls_per_second"] for repeat in row["repeats"]] for row in own]
        middle = [median(each) for each in rates]
        spread = [[m - min(e) for m, e in zip(middle, rates)], [max(e) - m for m, e in zip(middle, rates)]]  # noqa: B905
        connections = [row["load"]["connections"] for row in own]
        marker = MARKERS[i % len(MARKERS)]
        axes.errorbar(connections, middle, spread, label=subject, color=RUNS[i], marker=marker, capsize=3)
    ticks = sorted({row["load"]["connections"] for row in rows})
    axes.set(
        xscale="log", xlabel="connections", ylabel="calls a second", xticks=ticks, xticklabels=ticks, ylim=(0, None)
    )
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _finish(figure, axes)
    return figure


def _latency(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    for number, row in enumerate(rows):
        seen = row["repeats"][0]
        latencies = seen["latency_us"] or {}
        shares = [share for name in latencies if 0 < (share := float(name[1:])) <= rarest(seen)]
        at = [100 / (100 - share) for share in shares]
        milliseconds = [latencies[f"p{share:g}"] / 1000 for share in shares]
        of_subject = [one for one in rows if one["subject"] == row["subject"]]
        rate = seen["offered_calls_per_second"]
        style = ("-", "--", ":", "-.")[of_subject.index(row) % 4]
        color = RUNS[subjects.index(row["subject"])]
        marker = MARKERS[number % len(MARKERS)]
        label = f"{row['subject']}, {rate:,.0f} calls/s"
        axes.plot(at, milliseconds, linestyle=style, color=color, marker=marker, markersize=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="milliseconds")
    axes.set_xticks([100 / (100 - share) for share in TICKS], [f"{share:g}" for share in TICKS])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    _finish(figure, axes)
    return figure


def _finish(figure: Figure, axes: Axes) -> None:
    tidy(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
