"""What `digits bench engine` has found, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.benchmarks.engine.panels import in_threads, named
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from digits.benchmarks.engine.result import EngineResult, Load


def in_words(result: EngineResult) -> str:
    """A table of images a second for each number of threads, and what share of the roof fp32 reaches."""
    rates = result.rates()
    threads = sorted({on for of in rates.values() for _, on in of})
    shares = {
        (point["batch"], point["threads"]): point["share"]
        for point in result.findings.get("roofline", {"points": []})["points"]
        if "share" in point
    }
    tables = [_table(rates, shares, number, result.findings["not_served"]) for number in threads]
    if any(share > 1 for share in shares.values()):
        tables.append("A share above 100 %: the machine was busy while its peaks were measured. Measure again.")
    return "\n\n".join(tables)


def _table(
    rates: Mapping[str, Mapping[Load, float]], shares: Mapping[Load, float], threads: int, not_served: Collection[str]
) -> str:
    batches = sorted({batch for of in rates.values() for batch, on in of if on == threads})
    head = [f"{in_threads(threads)}, images a second in batches of", *map("{:,}".format, batches)]
    rows = [
        [named(name, not_served), *(f"{of[batch, threads]:,.0f}" for batch in batches)]
        for name, of in rates.items()
        if (batches[0], threads) in of
    ]
    if shares:
        rows.append(["fp32's share of the roof", *(f"{shares[batch, threads]:.0%}" for batch in batches)])
    return Table(head, rows, 1).text()
