"""The results of `digits bench server`: latency by percentile, calls by connections, and all of it in a table."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from digits.benchmarks.figures import MARKERS, Line, chart, look, repeats_lines
from digits.benchmarks.load.call import load_text
from digits.benchmarks.section import Row, Section, section
from digits.report.table import Table

MEASURES = {  # by head: what it is of a repeat
    "p50 us": ("latency_us", "p50"),
    "p99 us": ("latency_us", "p99"),
    "p99.9 us": ("latency_us", "p99.9"),
    "sent late p99": ("sent_late_us", "p99"),
    "queue us": ("server_queue_us", None),
    "compute us": ("server_compute_us", None),
    "CPU us": ("cpu_us", None),
    "MB": ("resident_mb", None),
}
BEYOND = 5  # calls; a percentile with fewer calls beyond it is left out
STYLES = ("-", "--", ":", "-.")
TICKS = (0, 50, 90, 99, 99.9)  # percentiles on the axis


def server_section(result: dict[str, Any]) -> Section:
    rows = result["measurements"]
    single = [row for row in rows if (row["load"]["method"], row["load"]["images"]) == ("Classify", 1)]
    closed = [row for row in single if row["load"]["loop"] == "closed"]
    best = "h2load" if any(row["load"]["generator"] == "h2load" for row in closed) else "asyncio"
    closed = [row for row in closed if row["load"]["generator"] == best]
    opened = [row for row in single if row["load"]["loop"] == "open" and "slo_ms" not in row["load"]]
    figures = {"throughput": lambda: _throughput(closed)} if closed else {}
    figures |= {"latency": lambda: _latency(opened)} if opened else {}
    return section(result, figures, table=server_table(rows), slo_text=slo_text, best=best)


def server_table(rows: Sequence[Row]) -> Table:
    """Servers under the same load are next to each other."""
    shown = [[row["system"], load_text(row["load"]), *_numbers(row)] for row in sorted(rows, key=_order)]
    return Table(("server", "load", "calls/s", "failed", *MEASURES), shown, 2)


def slo_text(row: Row) -> str:
    """The result of a search for the highest rate, in words."""
    load, rate = row["load"], row["highest_calls_per_second"]
    images = "1 image" if load["images"] == 1 else f"{load['images']} images"
    least, end = ("at least ", ", the limit of our generator") if row["at_least"] else ("", "")
    within = f"99 % of the calls of {images} within {load['slo_ms']:g} ms"
    return f"{within} up to {least}{rate:,.0f} calls, {rate * load['images']:,.0f} images, a second{end}"


def _order(row: Row) -> tuple[object, ...]:
    load = row["load"]
    how = (load["loop"], "slo_ms" in load, load["generator"], load["method"])
    return (*how, str(load["images"]), load["connections"], load.get("share", load.get("rate", 0)))


def _numbers(row: Row) -> list[str]:
    if "highest_calls_per_second" in row:
        least = ">= " if row["at_least"] else ""
        return [f"{least}{row['highest_calls_per_second']:,.0f}", *[""] * (1 + len(MEASURES))]
    repeats = row["repeats"]
    rate = median(repeat["calls_per_second"] for repeat in repeats)
    failed = sum(sum(repeat["failed"].values()) for repeat in repeats)
    found = [[_value(repeat, *measure) for repeat in repeats] for measure in MEASURES.values()]
    known = [[value for value in values if value is not None] for values in found]
    return [f"{rate:,.0f}", f"{failed:,}", *(f"{median(values):,.0f}" if values else "" for values in known)]


def _value(repeat: dict[str, Any], measure: str, share: str | None) -> float | None:
    """A number of a repeat, or one of its percentiles; None where it is missing, or a percentile of too few calls."""
    found: Any = repeat.get(measure)
    if share and found:
        found = found.get(share) if float(share[1:]) <= _rarest(repeat) else None
    return found  # type: ignore[no-any-return] # a repeat is JSON


def _rarest(repeat: dict[str, Any]) -> float:
    """The highest percentile that there are enough calls for."""
    return 100 - 100 * BEYOND / max(int(repeat.get("calls", 0)), BEYOND)


def _throughput(rows: Sequence[Row]) -> Figure:
    lines = repeats_lines(rows, "connections", "calls_per_second")
    ticks = sorted({row["load"]["connections"] for row in rows})
    places = {"xscale": "log", "xticks": ticks, "xticklabels": ticks, "ylim": (0, None)}
    calls = {"xlabel": "connections", "ylabel": "calls a second"}
    return chart({"": lines}, (6.4, 3.8), places | calls)


def _latency(rows: Sequence[Row]) -> Figure:
    systems = list(dict.fromkeys(row["system"] for row in rows))
    lines = []
    for number, row in enumerate(rows):
        (repeat, *_), own = row["repeats"], [other for other in rows if other["system"] == row["system"]]
        latencies = repeat["latency_us"] or {}
        shares = [share for name in latencies if 0 < (share := float(name[1:])) <= _rarest(repeat)]
        style = {"linestyle": STYLES[own.index(row) % len(STYLES)], "marker": MARKERS[number % len(MARKERS)]}
        how = look(systems.index(row["system"])) | style | {"markersize": 4}
        label = f"{row['system']}, {repeat['offered_calls_per_second']:,.0f} calls/s"
        milliseconds = [latencies[f"p{share:g}"] / 1000 for share in shares]
        lines.append(Line(label, [100 / (100 - share) for share in shares], milliseconds, how))
    places = {"xticks": [100 / (100 - share) for share in TICKS], "xticklabels": [f"{share:g}" for share in TICKS]}
    scales = {"xscale": "log", "yscale": "log", "xlabel": "percentile", "ylabel": "milliseconds"}
    return chart({"": lines}, (6.4, 4.2), scales | places)
