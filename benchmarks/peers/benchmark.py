"""Our server compared with an echo, a plain grpc.aio server and peers: rates, latency, processor time, memory, start.

The JSON has a measurement for each server and load, with a repeat for each round; the systems "digits, in turn with X"
are ours, measured in the same rounds as the peer X. `findings` has the `model` that all of them serve, its speed
`in_process` in each round, `ready_seconds`, `memory` and `overload` of our server, the `peers` with the reasons why one
or one of its loads is missing, and the `acceptance`: what our server must reach.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from importlib import metadata
from typing import Any

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, FP32, UINT8, Point, call_of, clear_images
from digits.benchmarks.load.h2load import drive, require_h2load
from digits.benchmarks.load.measure import ClosedLoop, Grid, ServerUnderTest, rates_text
from digits.benchmarks.measurement import Result, measuring
from digits.benchmarks.peers.acceptance import acceptance
from digits.benchmarks.peers.overload import overload
from digits.benchmarks.peers.peer import CATALOGUE, Peer, peer_serving
from digits.benchmarks.peers.report import in_turn, peers_section
from digits.benchmarks.servers import serving
from digits.benchmarks.settings import BASELINE, ECHO, GRPCIO, OURS, OWN, SPINNING, PeersBenchmarkSettings
from digits.images import mnist
from digits.model.repository import open_repository
from digits.model.selection import select
from digits.model.timing import seconds_per_run

# By load, which of our own servers it is for. Loads that are compared with each other are next to each other.
GRID: dict[Point, tuple[str, ...]] = {
    Point(CLASSIFY, 64, 4): (OURS, GRPCIO, BASELINE),
    Point(CLASSIFY, 1, 1): (OURS, SPINNING, GRPCIO, ECHO, BASELINE),
    Point(CLASSIFY, 1, 16): (OURS, GRPCIO, ECHO, BASELINE),
    Point(CLASSIFY, 1, 64): (OURS, GRPCIO, ECHO, BASELINE),
    Point(UINT8, 1, 64): (OURS, ECHO),
    Point(UINT8, 1, 16): (OURS, ECHO),
}
PEER_GRID = ((1, 1), (1, 16), (1, 64), (64, 4))  # images in a call, connections
POINTS = 5  # at which the memory is read: the first is after a fifth of the calls
BATCH = 64
PACKAGES = ("grpcio", "protobuf", "pygrpc-native")
FOLDERS = re.compile(r"/\S*/")  # of a path of this machine


def run(settings: PeersBenchmarkSettings) -> None:
    """Measures every server that is asked for, and writes the results.

    Raises BenchmarkError if h2load is missing, a server of ours does not start, or one answers wrongly.
    """
    if settings.quick:
        settings = replace(settings, rounds=1, seconds=0.3, starts=1, memory_requests=0, overload_seconds=0)
    versions = {"h2load": require_h2load()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    data = mnist.load(settings.data)
    print(f"data: {data.source}", flush=True)
    warm_up = "a call of each load, whose answer is checked"
    with measuring("peers", settings, data, warm_up=warm_up, repeats=settings.rounds) as result:
        result.head["versions"] |= versions
        try:
            Bench(settings, data, result).measure()
        finally:
            result.findings["acceptance"] = acceptance(result.rows, result.findings)
    result.show(peers_section)


class Bench:
    """The measurements and findings, which it adds to the result."""

    def __init__(self, settings: PeersBenchmarkSettings, data: mnist.Mnist, result: Result) -> None:
        version = open_repository(None).open()
        selection = select(version, provider="cpu")
        print(f"model: {selection.variant}, for ours and the peers", flush=True)
        self._settings, self._engine, self._variant = settings, selection.engine, selection.variant
        self._file, self._findings = version.file(selection.variant), result.findings
        images = clear_images(version, data.x_test, data.y_test)
        self._grid = Grid(result, images, ClosedLoop(1, percentiles=False, warm_up=False), settings.seconds)
        model = {"name": version.manifest.name, "version": version.number, "variant": selection.variant}
        result.findings.update({"model": model, "in_process": [], "ready_seconds": [], "peers": []})

    def measure(self) -> None:
        """All that is asked for."""
        settings, ours = self._settings, OURS in self._settings.servers
        for number in range(settings.starts if ours else 0):
            with serving(OURS, self._variant) as server:
                seconds = server.process.ready_seconds if server.process else 0.0
            self._findings["ready_seconds"].append(round(seconds, 3))
            print(f"start {number + 1}/{settings.starts}: ready in {seconds:.2f} s", flush=True)
        if own := [name for name in settings.servers if name in OWN]:
            self._rounds(own)
        if ours and settings.memory_requests:
            self._memory(settings.memory_requests)
        if ours and settings.overload_seconds:
            many = call_of(CLASSIFY, OURS, self._grid.images, BATCH)
            self._findings["overload"] = overload(many, settings.overload_seconds, self._variant)
        for name in settings.servers:
            if name in CATALOGUE:
                self._head_to_head(CATALOGUE[name])

    def _rounds(self, own: list[str]) -> None:
        """Every load to one of our servers after the other, in each round."""
        with ExitStack() as stack:
            servers = [stack.enter_context(serving(name, self._variant)) for name in own]
            for number in range(self._settings.rounds):
                title = f"round {number + 1}/{self._settings.rounds}"
                self._in_process(title)
                for point, names in GRID.items():
                    if chosen := [server for server in servers if server.kind in names]:
                        print(f"{title}: {point}: {rates_text(self._grid.turn(chosen, point, number))}", flush=True)

    def _in_process(self, title: str) -> None:
        """The speed of the model on one thread in this process."""
        least, (pixels, _) = min(self._settings.seconds, 0.5), self._grid.images
        runs = {"model": self._engine.run}
        one, many = (
            float(seconds_per_run(runs, pixels, size, rounds=1, least=least)["model"][0]) for size in (1, BATCH)
        )
        found = {"microseconds": round(one * 1e6, 2), "images_per_second": round(BATCH / many)}
        self._findings["in_process"].append(found)
        print(
            f"{title}: in process: {one * 1e6:.1f} us for an image, {BATCH / many:,.0f} images/s in batches", flush=True
        )

    def _memory(self, requests: int) -> None:
        """The resident memory of a fresh server after each fifth of so many calls."""
        part, call = max(requests // POINTS, 1), call_of(CLASSIFY, OURS, self._grid.images, 1)
        calls, resident = list[int](), list[float]()
        self._findings["memory"] = {"calls": calls, "resident_mb": resident}
        with serving(OURS, self._variant) as server:
            for number in range(1, POINTS + 1):
                load = drive(server.address, call, connections=min(64, part), calls=part)
                load.require_bodies(call, call.require_answer(server.address))
                calls.append(number * part)
                resident.append(round(server.process.resident_mb(), 2) if server.process else 0.0)
                print(f"memory: {resident[-1]:.1f} MB after {calls[-1]:,} calls", flush=True)

    def _head_to_head(self, peer: Peer) -> None:
        """Starts a peer and our server, and puts each load on both of them in turn, round after round.

        Raises BenchmarkError if ours does not start or answers wrongly; what is wrong with a peer is in the findings.
        """
        points = [Point(peer.call, images, connections) for images, connections in PEER_GRID]
        points += [Point(FP32, 1, 16)] if peer.call == UINT8 else []
        row: dict[str, Any] = {key: getattr(peer, key) for key in ("name", "title", "version", "batching")}
        row |= {"why_not": None, "failed_loads": {}}
        self._findings["peers"].append(row)
        first = call_of(peer.call, peer.name, self._grid.images, 1)
        with ExitStack() as stack:
            try:
                theirs = stack.enter_context(peer_serving(peer, self._settings.cache, self._file, first))
            except (BenchmarkError, OSError) as error:
                row["why_not"] = _without_folders(error)
                print(f"{peer.title} is left out: {error}", flush=True)
                return
            ours = stack.enter_context(serving(OURS, self._variant))
            for number in range(self._settings.rounds):
                for point in points:
                    if str(point) not in row["failed_loads"]:
                        self.pair(peer, (ours, theirs), point, row["failed_loads"], number)

    def pair(
        self, peer: Peer, servers: Sequence[ServerUnderTest], point: Point, failed_loads: dict[str, str], number: int
    ) -> None:
        """Puts a load on ours and a peer, one after the other; a load that fails the peer is left out from then on."""
        ours, theirs = replace(servers[0], name=in_turn(peer.title)), servers[1]
        found = {}
        for server in (theirs, ours) if number % 2 else (ours, theirs):
            pause = theirs.process.paused() if server is ours and peer.polls and theirs.process else nullcontext()
            try:
                with pause:
                    found[server.name] = self._grid.measured(server, point, self._settings.seconds)
                self._grid.keep(server, point, found[server.name])
            except BenchmarkError as error:
                if server is ours:
                    raise
                failed_loads[str(point)] = _without_folders(error)
                print(failed_loads[str(point)], flush=True)
        print(f"{point}: {rates_text(found)}", flush=True)


def _without_folders(error: Exception) -> str:
    return FOLDERS.sub("", " ".join(str(error).split()))
