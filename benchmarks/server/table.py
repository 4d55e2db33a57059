"""What `digits bench server` has measured, as a table for the terminal."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = (
    *("server", "load", "calls/s", "failed", "p50 us", "p99 us", "p99.9 us", "sent late p99"),
    *("queue us", "compute us", "CPU us", "MB"),
)
SHARES = ("p50", "p99", "p99.9")
BEYOND = 5  # calls, without which beyond it a percentile says nothing
MEANS = ("server_queue_us", "server_compute_us", "cpu_us", "resident_mb")


def server_table(measurements: Iterable[dict[str, Any]]) -> str:
    return Table(HEAD, table_rows(measurements), 2).text()


def table_rows(measurements: Iterable[dict[str, Any]]) -> list[list[str]]:
    """The medians of the repeats; of a search for the highest rate, that rate. Servers under one load are together."""
    rows = sorted(measurements, key=lambda row: _place(row["load"]))
    return [[row["subject"], words(row["load"]), *_numbers(row)] for row in rows]


def _place(load: dict[str, Any]) -> tuple[object, ...]:
    """By which loads are sorted."""
    how = (load["loop"], "slo_ms" in load, load["generator"], load["method"])
    return (*how, str(load["images"]), load["connections"], load.get("share", load.get("rate", 0)))


def words(load: dict[str, Any]) -> str:
    """A load in a few words."""
    loop = load["loop"]
    if "share" in load:
        loop = f"open at {load['share']:.0%}"
    elif "rate" in load:
        loop = f"open at {load['rate']:g}/s"
    elif "slo_ms" in load:
        loop = f"highest with p99 <= {load['slo_ms']:g} ms"
    by = " (asyncio)" if load["generator"] == "asyncio" and load["loop"] == "closed" else ""
    streams = load.get("streams", 1)
    over = f"{load['connections']}" if streams == 1 else f"{load['connections']} x {streams}"
    return f"{load['method']} x {load['images']}, {over} conn., {loop}{by}"


def promise(row: dict[str, Any]) -> str:
    """What a search has found, in words."""
    load, rate = row["load"], row["highest_calls_per_second"]
    images = "1 image" if load["images"] == 1 else f"{load['images']} images"
    least = "at least " if row["at_least"] else ""
    end = ", where our generator is at its end" if row["at_least"] else ""
    within = f"99 % of the calls of {images} within {load['slo_ms']:g} ms"
    return f"{within} up to {least}{rate:,.0f} calls, {rate * load['images']:,.0f} images, a second{end}"


def rarest(repeat: dict[str, Any]) -> float:
    """The highest percentile that its calls are enough for."""
    calls: int = repeat["calls"]
    return 100 - 100 * BEYOND / max(calls, BEYOND)


def _numbers(row: dict[str, Any]) -> list[str]:
    if "highest_calls_per_second" in row:
        least = ">= " if row["at_least"] else ""
        return [f"{least}{row['highest_calls_per_second']:,.0f}", *[""] * (len(HEAD) - 3)]
    repeats = row["repeats"]
    return [
        f"{median(repeat['calls_per_second'] for repeat in repeats):,.0f}",
        f"{sum(sum(repeat['failed'].values()) for repeat in repeats):,}",
        *(_median(_known(repeat, "latency_us", share) for repeat in repeats) for share in SHARES),
        _median(_known(repeat, "sent_late_us", "p99") for repeat in repeats),
        *(_median(repeat.get(name) for repeat in repeats) for name in MEANS),
    ]


def _known(repeat: dict[str, Any], what: str, share: str) -> float | None:
    percentiles: dict[str, float] = repeat.get(what) or {}
    return percentiles.get(share) if float(share[1:]) <= rarest(repeat) else None


def _median(values: Iterable[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{median(found):,.0f}" if found else ""
