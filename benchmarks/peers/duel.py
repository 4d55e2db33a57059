"""A peer beside ours: one at a time is up, and each load goes to both of them in turn, round after round."""

from __future__ import annotations

import re
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from digits.benchmarks import servers
from digits.benchmarks.calls import call_of
from digits.benchmarks.cells import CLASSIFY, FP32, JSON, RAW, UINT8, Cell
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.peers.loading import measured, record
from digits.benchmarks.peers.peer import serving
from digits.benchmarks.peers.result import Measured, median_of
from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import OURS

if TYPE_CHECKING:
    from digits.benchmarks.peers.in_process import Model
    from digits.benchmarks.peers.peer import Peer
    from digits.benchmarks.process import ServerProcess
    from digits.benchmarks.settings import PeersBenchmarkSettings

LOADS = ((1, 1), (1, 16), (1, 64), (64, 4))  # images in a call, connections
FOLDERS = re.compile(r"/\S*/")  # of a path: they are this machine's


@dataclass(slots=True)
class Pairs:
    """What both did under one load, round by round, and why the peer did no more."""

    cell: Cell  # the peer's
    ours: list[Measured] = field(default_factory=list)
    peers: list[Measured] = field(default_factory=list)
    why_not: str | None = None

    @property
    def beside(self) -> Cell:
        """The load of ours: the same bytes, or Classify where the peer has no gRPC."""
        return replace(self.cell, call=CLASSIFY) if self.cell.call in {RAW, JSON} else self.cell

    @property
    def ratio(self) -> float | None:
        """Our rate over the peer's, the median of the rounds' ratios; None if it has none."""
        pairs = [(our, its) for our, its in zip(self.ours, self.peers, strict=False) if its.calls_per_second]
        return round(median(our.calls_per_second / its.calls_per_second for our, its in pairs), 3) if pairs else None

    def as_json(self) -> dict[str, Any]:
        ours, its = (asdict(median_of(several)) if several else None for several in (self.ours, self.peers))
        return {"load": self.cell.name, "ours": ours, "peer": its, "ratio": self.ratio, "why_not": self.why_not}


@dataclass(slots=True)
class Duel:
    """One peer: why it was not measured, or its loads."""

    peer: Peer
    why_not: str | None = None
    loads: list[Pairs] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """A row: the peer, the medians of both by load, and the ratio of ours over it."""
        peer = {key: getattr(self.peer, key) for key in ("name", "title", "version", "batching")}
        return {**peer, "why_not": self.why_not, "loads": [pairs.as_json() for pairs in self.loads]}


@dataclass(frozen=True, slots=True)
class Arena:
    """Both servers, up, by name."""

    peer: Peer
    processes: dict[str, ServerProcess]
    model: Model
    seconds: float
    measurements: list[dict[str, Any]]

    def measure(self, pairs: Pairs, *, ours_first: bool) -> None:
        """Puts both under a load, one after the other; a peer that fails under it is let off from then on."""
        if pairs.why_not:
            return
        for name in (OURS, self.peer.name)[:: 1 if ours_first else -1]:
            pause = self.processes[self.peer.name].paused() if self.peer.polls and name == OURS else nullcontext()
            try:
                with pause:
                    self._measure(name, pairs)
            except BenchmarkError as error:
                if name == OURS:
                    raise
                pairs.why_not = _without_folders(error)

    def _measure(self, name: str, pairs: Pairs) -> None:
        cell = pairs.beside if name == OURS else pairs.cell
        call = call_of(cell, name, self.model.pixels, self.model.digits)
        one = measured(call, self.processes[name], self.seconds)
        (pairs.ours if name == OURS else pairs.peers).append(one)
        subject = f"{TITLES[OURS]} beside {self.peer.title}" if name == OURS else self.peer.title
        record(self.measurements, subject, cell, one)


def fight(duel: Duel, settings: PeersBenchmarkSettings, model: Model, measurements: list[dict[str, Any]]) -> None:
    """Installs the peer if need be, starts it beside ours, and measures both.

    Raises:
        BenchmarkError: ours does not start or answers wrongly; what is wrong with a peer is in its row.
    """
    peer, cells = duel.peer, _cells(duel.peer)
    first = call_of(cells[0], peer.name, model.pixels, model.digits)
    with ExitStack() as stack:
        try:
            process = stack.enter_context(serving(peer, settings.cache, model.file, first))
        except (BenchmarkError, OSError) as error:
            duel.why_not = _without_folders(error)
            print(f"{peer.title} is left out: {error}", flush=True)
            return
        print(f"{peer.title} {peer.version}: ready in {process.ready_seconds:.1f} s", flush=True)
        ours = stack.enter_context(servers.serving(OURS, model.variant))
        arena = Arena(peer, {OURS: ours, peer.name: process}, model, settings.seconds, measurements)
        duel.loads = [Pairs(cell) for cell in cells]
        for number in range(settings.rounds):
            for pairs in duel.loads:
                arena.measure(pairs, ours_first=number % 2 == 0)
                print(f"round {number + 1}/{settings.rounds}: {_in_words(pairs, peer)}", flush=True)


def _cells(peer: Peer) -> list[Cell]:
    cells = [Cell(peer.call, images, connections) for images, connections in LOADS]
    return [*cells, Cell(FP32, 1, 16)] if peer.call == UINT8 else cells


def _in_words(pairs: Pairs, peer: Peer) -> str:
    if pairs.why_not:
        return f"{pairs.cell.name}: {peer.title}: {pairs.why_not}"
    ours, its = (several[-1].calls_per_second for several in (pairs.ours, pairs.peers))
    return f"{pairs.cell.name}: {TITLES[OURS]} {ours:,.0f}/s; {peer.title} {its:,.0f}/s"


def _without_folders(error: Exception) -> str:
    return FOLDERS.sub("", " ".join(str(error).split()))
