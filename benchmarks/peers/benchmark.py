"""The server beside an echo, a plain grpc.aio server and peers: rates, latency, processor time, memory, start.

Its JSON has, besides what all have: `model`, whose variant the peers serve too; `rounds`, of the servers of the house,
which are up together; `ready_seconds`, `memory` and `overload` of ours; `peers`, a row for each, from `duel.py`; and of
it all the `medians` and the `acceptance`. The subject "digits beside X" is ours, in turn with the peer X.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from digits.benchmarks.calls import call_of
from digits.benchmarks.cells import CELLS, CLASSIFY_64, IMAGES_64
from digits.benchmarks.h2load import drive, require_h2load
from digits.benchmarks.measurement import measurement, measuring
from digits.benchmarks.peers.acceptance import acceptance
from digits.benchmarks.peers.catalogue import CATALOGUE
from digits.benchmarks.peers.duel import Duel, fight
from digits.benchmarks.peers.in_process import Model
from digits.benchmarks.peers.loading import measured, record
from digits.benchmarks.peers.overload import overload
from digits.benchmarks.peers.result import Measured, Memory, PeersResult, Round
from digits.benchmarks.peers.table import duels_table, lines_table, rates_table
from digits.benchmarks.servers import TITLES, all_serving, serving
from digits.benchmarks.settings import HOUSE, OURS
from digits.images import mnist
from digits.model.repository import open_repository
from digits.model.selection import select

if TYPE_CHECKING:
    from digits.benchmarks.process import ServerProcess
    from digits.benchmarks.settings import PeersBenchmarkSettings

POINTS = 5  # at which memory is looked at: the first is after a fifth of the calls
PACKAGES = ("grpcio", "protobuf", "pygrpc-native")


def run(settings: PeersBenchmarkSettings) -> None:
    """Measures every server that is asked for, and writes it down.

    Raises:
        BenchmarkError: h2load is missing, a server of the house does not start, or one answers wrongly.
    """
    h2load = require_h2load()
    data = mnist.load(settings.data)
    print(f"data: {data.source}", flush=True)
    version = open_repository(None).open()
    selection = select(version, provider="cpu")
    print(f"model: {selection.variant}, for ours and the peers", flush=True)
    model = Model(version, selection, data.x_test)
    head = measurement(
        "peers", settings, data, warm_up="a call of each load, whose answer is checked", repeats=settings.rounds
    )
    head["versions"] |= _versions() | {"h2load": h2load}
    head["model"] = {"name": version.manifest.name, "version": version.number, "variant": model.variant}
    with measuring(head, settings.out) as measurements:
        result = PeersResult()
        try:
            _measure(settings, model, result, measurements)
        finally:
            head |= _body(result)
    tables = [rates_table(result.medians()), duels_table(result.duels), lines_table(acceptance(result))]
    print("\n" + "\n\n".join(filter(None, tables)), flush=True)


def _body(result: PeersResult) -> dict[str, Any]:
    """What the JSON says of it, whole or not."""
    medians = result.medians().items()
    return {
        "acceptance": [asdict(line) for line in acceptance(result)],
        "medians": {cell: {name: asdict(one) for name, one in by_name.items()} for cell, by_name in medians},
        "rounds": [asdict(each) for each in result.rounds],
        "ready_seconds": result.ready_seconds,
        "memory": asdict(result.memory) if result.memory else None,
        "overload": asdict(result.overload) if result.overload else None,
        "peers": [each.as_json() for each in result.duels],
    }


def _measure(
    settings: PeersBenchmarkSettings, model: Model, result: PeersResult, measurements: list[dict[str, Any]]
) -> None:
    """All that is asked for, into the result."""
    ours = OURS in settings.servers
    for number in range(settings.starts if ours else 0):
        result.ready_seconds.append(_start(f"start {number + 1}/{settings.starts}", model.variant))
    if house := [name for name in settings.servers if name in HOUSE]:
        with all_serving(house, model.variant) as processes:
            for number in range(settings.rounds):
                result.rounds.append(_round(number, settings, model, processes, measurements))
    if ours and settings.memory_requests:
        result.memory = _memory(settings.memory_requests, model)
    if ours and settings.overload_seconds:
        many = call_of(IMAGES_64, OURS, model.pixels, model.digits)
        result.overload = overload(many, settings.overload_seconds, model.variant)
    for name in settings.servers:
        if name in CATALOGUE:
            result.duels.append(Duel(CATALOGUE[name]))
            fight(result.duels[-1], settings, model, measurements)


def _start(title: str, variant: str) -> float:
    with serving(OURS, variant) as process:
        print(f"{title}: ready in {process.ready_seconds:.2f} s", flush=True)
        return round(process.ready_seconds, 3)


def _round(
    number: int,
    settings: PeersBenchmarkSettings,
    model: Model,
    processes: dict[str, ServerProcess],
    measurements: list[dict[str, Any]],
) -> Round:
    """Every load to one server of the house after the other."""
    in_process, title = model.measure(min(settings.seconds, 0.5)), f"round {number + 1}/{settings.rounds}"
    rate = f"{in_process.images_per_second:,.0f} images/s in batches of 64"
    print(f"{title}: in process: {in_process.microseconds:.1f} us for an image, {rate}", flush=True)
    cells: dict[str, dict[str, Measured]] = {}
    for cell in CELLS:
        by_name: dict[str, Measured] = {}
        # Every other round takes the servers from the last to the first, lest the machine's drift favour one.
        for name in [name for name in processes if name in cell.servers][:: -1 if number % 2 else 1]:
            call = call_of(cell, name, model.pixels, model.digits)
            by_name[name] = measured(call, processes[name], settings.seconds)
            record(measurements, TITLES[name], cell, by_name[name])
        if by_name:
            cells[cell.name] = by_name
            rates = [f"{TITLES[name]} {one.calls_per_second:,.0f}/s" for name, one in by_name.items()]
            print(f"{title}: {cell.name}: {'; '.join(rates)}", flush=True)
    return Round(in_process, cells)


def _memory(requests: int, model: Model) -> Memory:
    """What is resident in a server that has just been started, after each fifth of so many calls."""
    memory, part = Memory([], []), max(requests // POINTS, 1)
    call = call_of(CLASSIFY_64, OURS, model.pixels, model.digits)
    with serving(OURS, model.variant) as process:
        for number in range(1, POINTS + 1):
            load = drive(
                process.address, call.method, call.message, connections=min(call.cell.connections, part), calls=part
            )
            call.require_answers(load, call.require_answer(process.address))
            memory.calls.append(number * part)
            memory.resident_mb.append(round(process.resident_mb(), 2))
            print(f"memory: {memory.resident_mb[-1]:.1f} MB after {number * part:,} calls", flush=True)
    return memory


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
