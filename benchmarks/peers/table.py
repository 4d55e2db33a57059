"""What the servers and the peers reached, as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.benchmarks.peers.result import median_of
from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import ECHO
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from digits.benchmarks.peers.acceptance import Line
    from digits.benchmarks.peers.duel import Duel, Pairs
    from digits.benchmarks.peers.result import Measured


def rates_table(medians: Mapping[str, Mapping[str, Measured]]) -> str:
    """Empty if there was none."""
    head = ["load", "server", "calls/s", "images/s", "of echo", "mean us", "p50 us", "p99 us", "CPU us a call"]
    rows = [
        [cell, TITLES[name], *_numbers(measured, servers.get(ECHO))]
        for cell, servers in medians.items()
        for name, measured in servers.items()
    ]
    return Table(head, rows, 2).text() if rows else ""


def duels_table(duels: Sequence[Duel]) -> str:
    """Ours over each peer, and below it why a peer or a load is not there; empty if there was none."""
    head = ["peer", "load", "calls/s", "digits' calls/s", "times as many", "CPU us a call", "digits' CPU us"]
    rows = [[duel.peer.title, *_pair(pairs)] for duel in duels for pairs in duel.loads if pairs.ratio]
    missing = [f"{duel.peer.title} is left out: {duel.why_not}" for duel in duels if duel.why_not]
    missing += [
        f"{duel.peer.title}, {pairs.cell.name}: {pairs.why_not}"
        for duel in duels
        for pairs in duel.loads
        if pairs.why_not
    ]
    return "\n".join([Table(head, rows, 2).text()] * bool(rows) + missing)


def _pair(pairs: Pairs) -> list[str]:
    ours, its = median_of(pairs.ours), median_of(pairs.peers)
    rates = [f"{its.calls_per_second:,.0f}", f"{ours.calls_per_second:,.0f}", f"{pairs.ratio:,.1f}"]
    return [pairs.cell.name, *rates, f"{its.cpu_microseconds:,.0f}", f"{ours.cpu_microseconds:,.0f}"]


def lines_table(lines: Sequence[Line]) -> str:
    rows = [[line.what, f"{line.value:,.3g}", line.wanted, _met(line)] for line in lines]
    return Table(["the server's", "is", "wanted", ""], rows, 1).text() if rows else ""


def _numbers(measured: Measured, echo: Measured | None) -> list[str]:
    shares = measured.percentiles or {}
    return [
        f"{measured.calls_per_second:,.0f}",
        f"{measured.images_per_second:,.0f}",
        f"{measured.calls_per_second / echo.calls_per_second:.0%}" if echo else "",
        f"{measured.mean_microseconds:,.0f}",
        *(f"{shares[share]:,.0f}" if share in shares else "" for share in ("p50", "p99")),
        f"{measured.cpu_microseconds:,.1f}",
    ]


def _met(line: Line) -> str:
    if not line.wanted:
        return ""
    return "met" if line.met else "NOT MET"
