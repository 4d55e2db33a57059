"""What the servers reached, as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import ECHO
from digits.model.table import text_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from digits.benchmarks.acceptance import Line
    from digits.benchmarks.server_result import Measured


def rates_table(medians: Mapping[str, Mapping[str, Measured]]) -> str:
    head = ["load", "server", "calls/s", "images/s", "of echo", "mean us", "p50 us", "p99 us", "CPU us a call"]
    rows = [
        [cell, TITLES[name], *_numbers(measured, servers.get(ECHO))]
        for cell, servers in medians.items()
        for name, measured in servers.items()
    ]
    return text_table(head, rows, left=2)


def lines_table(lines: Sequence[Line]) -> str:
    rows = [[line.what, f"{line.value:,.3g}", line.wanted, _met(line)] for line in lines]
    return text_table(["the server's", "is", "wanted", ""], rows, left=1)


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
