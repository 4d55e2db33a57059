"""What the benchmark of the peers has measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digits.benchmarks.cells import Cell
    from digits.benchmarks.peers.duel import Duel
    from digits.benchmarks.peers.in_process import InProcess
    from digits.benchmarks.peers.overload import OverloadResult


@dataclass(frozen=True, slots=True)
class Measured:
    """One server under one load."""

    calls_per_second: float
    images_per_second: float
    failed: int  # calls
    mean_microseconds: float  # of a call, as h2load saw it
    percentiles: dict[str, float] | None  # of one connection
    cpu_microseconds: float  # of the server, for each call

    def as_repeat(self) -> dict[str, Any]:
        """As all benchmarks write a repeat."""
        return {
            "calls_per_second": self.calls_per_second,
            "images_per_second": self.images_per_second,
            "failed": self.failed,
            "mean_us": self.mean_microseconds,
            "cpu_us": self.cpu_microseconds,
            **({"latency_us": self.percentiles} if self.percentiles else {}),
        }


@dataclass(frozen=True, slots=True)
class Round:
    """All loads, once: by the cell's name and the server's."""

    in_process: InProcess
    cells: dict[str, dict[str, Measured]]

    def of(self, server: str, cell: Cell) -> Measured:
        """Raises KeyError if that has not been measured."""
        return self.cells[cell.name][server]

    def rate(self, server: str, cell: Cell) -> float:
        """In calls a second."""
        return self.of(server, cell).calls_per_second

    def cpu(self, server: str, cell: Cell) -> float:
        """In microseconds a call."""
        return self.of(server, cell).cpu_microseconds

    def p50(self, server: str, cell: Cell) -> float:
        """In microseconds. Raises KeyError if there was more than one connection."""
        return (self.of(server, cell).percentiles or {})["p50"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a server under many calls: what is resident after so many of them."""

    calls: list[int]
    resident_mb: list[float]

    @property
    def growth_mb(self) -> float:
        """From the first of these points to the last."""
        return self.resident_mb[-1] - self.resident_mb[0]


@dataclass(slots=True)
class PeersResult:
    """Everything, as it was measured."""

    rounds: list[Round] = field(default_factory=list)
    ready_seconds: list[float] = field(default_factory=list)  # from exec to the ready line, of each start
    memory: Memory | None = None
    overload: OverloadResult | None = None
    duels: list[Duel] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Calls, of all in the rounds."""
        return sum(one.failed for every in self.rounds for cell in every.cells.values() for one in cell.values())

    def medians(self) -> dict[str, dict[str, Measured]]:
        """By the cell's name and the server's, over the rounds; failed calls are summed up."""
        cells = self.rounds[0].cells if self.rounds else {}
        return {
            cell: {name: median_of([each.cells[cell][name] for each in self.rounds]) for name in cells[cell]}
            for cell in cells
        }


def median_of(rounds: Sequence[Measured]) -> Measured:
    """Each number's own; failed calls are summed up."""
    shares = [one.percentiles for one in rounds if one.percentiles]
    return Measured(
        calls_per_second=median(one.calls_per_second for one in rounds),
        images_per_second=median(one.images_per_second for one in rounds),
        failed=sum(one.failed for one in rounds),
        mean_microseconds=median(one.mean_microseconds for one in rounds),
        percentiles={share: median(one[share] for one in shares) for share in shares[0]} if shares else None,
        cpu_microseconds=median(one.cpu_microseconds for one in rounds),
    )
