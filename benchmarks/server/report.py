"""The results of `digits bench server`: latency by percentile, calls by connections, and all of it in a table."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digits.benchmarks.load.call import load_text
from digits.benchmarks.section import Drawing, Row, Section
from digits.report.figure import RUNS, tidy
from digits.report.table import Table

HEAD = (
    *("server", "load", "calls/s", "failed", "p50 us", "p99 us", "p99.9 us", "sent late p99"),
    *("queue us", "compute us", "CPU us", "MB"),
)
SHARES = ("p50", "p99", "p99.9")
MEANS = ("server_queue_us", "server_compute_us", "cpu_us", "resident_mb")
BEYOND = 5  # calls; a percentile with fewer calls beyond it is left out
MARKERS = "os^Dv"
STYLES = ("-", "--", ":", "-.")
HOW = (
    "In the closed loop a call follows as soon as another is answered. In the open loop calls are sent at random "
    "times, at a share of the rate that our own generator reaches in the closed loop, and latencies count from these "
    "times. `sent late` is by how much the generator itself was late; `CPU` is the server's for each call; `queue` and "
    "`compute` are its own account of a call. A percentile with fewer than five calls beyond it is left out."
)
TICKS = (0, 50, 90, 99, 99.9, 99.99)  # percentiles on the axis


def server_section(result: dict[str, Any]) -> Section:
    rows = result["measurements"]
    text = [HOW, *(f"{row['system']}: {slo_text(row)}." for row in rows if "at_least" in row)]
    return Section("A server under load", result, text, [server_table(rows)], _drawings(rows))


def server_table(rows: Sequence[Row]) -> Table:
    """Servers under the same load are next to each other."""
    return Table(HEAD, [_cells(row) for row in sorted(rows, key=_order)], 2)


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


def _rarest(repeat: dict[str, Any]) -> float:
    """The highest percentile that there are enough calls for."""
    return 100 - 100 * BEYOND / max(int(repeat.get("calls", 0)), BEYOND)


def _cells(row: Row) -> list[str]:
    names = [row["system"], load_text(row["load"])]
    if "highest_calls_per_second" in row:
        least = ">= " if row["at_least"] else ""
        return [*names, f"{least}{row['highest_calls_per_second']:,.0f}", *[""] * (len(HEAD) - 3)]
    repeats = row["repeats"]
    return [
        *names,
        f"{median(repeat['calls_per_second'] for repeat in repeats):,.0f}",
        f"{sum(sum(repeat['failed'].values()) for repeat in repeats):,}",
        *(_median(_known(repeat, "latency_us", share) for repeat in repeats) for share in SHARES),
        _median(_known(repeat, "sent_late_us", "p99") for repeat in repeats),
        *(_median(repeat.get(name) for repeat in repeats) for name in MEANS),
    ]


def _known(repeat: dict[str, Any], what: str, share: str) -> float | None:
    percentiles: dict[str, float] = repeat.get(what) or {}
    return percentiles.get(share) if float(share[1:]) <= _rarest(repeat) else None


def _median(values: Iterable[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{median(found):,.0f}" if found else ""


def _drawings(rows: Sequence[Row]) -> list[Drawing]:
    closed = [row for row in rows if _is(row, loop="closed", method="Classify", images=1)]
    best = "h2load" if any(_is(row, generator="h2load") for row in closed) else "asyncio"
    closed = [row for row in closed if _is(row, generator=best)]
    opened = [row for row in rows if _is(row, loop="open", images=1) and "slo_ms" not in row["load"]]
    drawings = []
    if closed:
        caption = f"Calls of one image a second by connections, by {best}; bars span all repeats."
        drawings.append(Drawing("throughput", lambda: _throughput(closed), "calls a second by connections", caption))
    if opened:
        caption = (
            "Latency in the open loop, from the time at which a call was to be sent: a line for each rate. The rarest "
            "calls are on the right; both axes are logarithmic."
        )
        alt = "latency by percentile in the open loop"
        drawings.append(Drawing("latency", lambda: _latency(opened), alt, caption))
    return drawings


def _is(row: Row, **wanted: object) -> bool:
    return all(row["load"].get(name) == value for name, value in wanted.items())


def _throughput(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for i, system in enumerate(dict.fromkeys(row["system"] for row in rows)):
        own = sorted((row for row in rows if row["system"] == system), key=lambda row: row["load"]["connections"])
        rates = [[repeat["calls_per_second"] for repeat in row["repeats"]] for row in own]
        middle = [median(each) for each in rates]
        spread = [[m - min(e) for m, e in zip(middle, rates)], [max(e) - m for m, e in zip(middle, rates)]]  # noqa: B905
        connections = [row["load"]["connections"] for row in own]
        marker = MARKERS[i % len(MARKERS)]
        axes.errorbar(connections, middle, spread, label=system, color=RUNS[i], marker=marker, capsize=3)
    ticks = sorted({row["load"]["connections"] for row in rows})
    axes.set(
        xscale="log", xlabel="connections", ylabel="calls a second", xticks=ticks, xticklabels=ticks, ylim=(0, None)
    )
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _finish(figure, axes)
    return figure


def _latency(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    systems = list(dict.fromkeys(row["system"] for row in rows))
    for number, row in enumerate(rows):
        repeat = row["repeats"][0]
        latencies = repeat["latency_us"] or {}
        shares = [share for name in latencies if 0 < (share := float(name[1:])) <= _rarest(repeat)]
        milliseconds = [latencies[f"p{share:g}"] / 1000 for share in shares]
        own = [other for other in rows if other["system"] == row["system"]]
        axes.plot(
            [100 / (100 - share) for share in shares],
            milliseconds,
            linestyle=STYLES[own.index(row) % len(STYLES)],
            color=RUNS[systems.index(row["system"])],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            label=f"{row['system']}, {repeat['offered_calls_per_second']:,.0f} calls/s",
        )
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="milliseconds")
    axes.set_xticks([100 / (100 - share) for share in TICKS], [f"{share:g}" for share in TICKS])
    axes.yaxis.set_major_formatter("{x:g}")
    _finish(figure, axes)
    return figure


def _finish(figure: Figure, axes: Axes) -> None:
    axes.minorticks_off()
    tidy(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
