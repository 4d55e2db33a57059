"""The server beside an echo, a plain grpc.aio server and Triton: rates, latency, processor time, memory, start."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from digits.benchmarks import triton
from digits.benchmarks.acceptance import acceptance
from digits.benchmarks.calls import call_of, refusals
from digits.benchmarks.cells import CELLS, CLASSIFY_64, IMAGES_64
from digits.benchmarks.in_process import Model
from digits.benchmarks.load import drive, require_h2load
from digits.benchmarks.measurement import measurement
from digits.benchmarks.overload import overload
from digits.benchmarks.server_result import Measured, Memory, Round, ServerResult
from digits.benchmarks.server_table import lines_table, rates_table
from digits.benchmarks.servers import TITLES, VARIANT, all_serving, serving
from digits.benchmarks.settings import GRPCIO, OURS, SPINNING, TRITON
from digits.images import mnist
from digits.model import builtin

if TYPE_CHECKING:
    from pathlib import Path

    from digits.benchmarks.calls import Call
    from digits.benchmarks.process import ServerProcess
    from digits.benchmarks.settings import ServerBenchmarkSettings

POINTS = 5  # at which memory is looked at: the first is after a fifth of the calls
PACKAGES = ("grpcio", "protobuf", "pygrpc-native")


def run(settings: ServerBenchmarkSettings) -> dict[str, Any]:
    """Measures every server that is asked for, in rounds: in each one, each load goes to one server after the other.

    Raises:
        BenchmarkError: h2load is missing, a server does not start, or one answers wrongly.
    """
    h2load = require_h2load()
    data = mnist.load(settings.data)
    print(f"data: {data.source}", flush=True)
    version = builtin.repository(None).open()
    result, names = _result(settings, Model(version, data.x_test), version.file(VARIANT))
    lines, medians = acceptance(result), result.medians()
    print(f"\n{rates_table(medians)}\n\n{lines_table(lines)}", flush=True)
    head = measurement("server", settings, data)
    head["versions"] |= _versions() | {"h2load": h2load} | ({"triton": triton.PYTRITON} if TRITON in names else {})
    return {
        **head,
        "model": {"name": version.manifest.name, "version": version.number, "variant": VARIANT},
        "acceptance": [asdict(line) for line in lines],
        "medians": {cell: {name: asdict(one) for name, one in by_name.items()} for cell, by_name in medians.items()},
        **asdict(result),
    }


def _result(settings: ServerBenchmarkSettings, model: Model, file: Path) -> tuple[ServerResult, set[str]]:
    """What was measured, and which servers were."""
    ours = OURS in settings.servers
    ready = [_start(f"start {i + 1}/{settings.starts}") for i in range(settings.starts)] if ours else []
    rounds = []
    with all_serving(settings, file) as processes:
        for i in range(settings.rounds):
            # Every other round takes the servers from the last to the first, lest the machine's drift favour one.
            order = dict(reversed(processes.items())) if i % 2 else processes
            rounds.append(_round(f"round {i + 1}/{settings.rounds}", settings.seconds, model, order))
    memory = _memory(settings.memory_requests, model) if ours and settings.memory_requests else None
    many = call_of(IMAGES_64, OURS, model.pixels, model.digits)
    flood = overload(many, settings.overload_seconds) if ours and settings.overload_seconds else None
    return ServerResult(rounds, ready, memory, flood), set(processes)


def _start(title: str) -> float:
    with serving(OURS) as process:
        print(f"{title}: ready in {process.ready_seconds:.2f} s", flush=True)
        return round(process.ready_seconds, 3)


def _round(title: str, seconds: float, model: Model, processes: dict[str, ServerProcess]) -> Round:
    in_process = model.measure(min(seconds, 0.5))
    rate = f"{in_process.images_per_second:,.0f} images/s in batches of 64"
    print(f"{title}: in process: {in_process.microseconds:.1f} us for an image, {rate}", flush=True)
    cells = {}
    for cell in CELLS:
        names = [name for name in processes if name in cell.servers]
        if not names:
            continue
        by_name = {}
        for name in names:
            by_name[name] = _measured(call_of(cell, name, model.pixels, model.digits), processes[name], seconds)
        rates = [f"{TITLES[name]} {one.calls_per_second:,.0f}/s" for name, one in by_name.items()]
        print(f"{title}: {cell.name}: {'; '.join(rates)}", flush=True)
        cells[cell.name] = by_name
    return Round(in_process, cells)


def _measured(call: Call, process: ServerProcess, seconds: float) -> Measured:
    reply_bytes = call.require_answer(process.address)
    before = process.cpu_seconds()
    load = drive(process.address, call.method, call.message, connections=call.cell.connections, seconds=seconds)
    cpu = process.cpu_seconds() - before
    call.require_answers(load, reply_bytes)
    refused = refusals(process.address) if call.server in {OURS, SPINNING, GRPCIO} else 0
    return Measured(
        calls_per_second=load.calls_per_second,
        images_per_second=load.calls_per_second * call.cell.images,
        failed=load.failed + refused,
        mean_microseconds=load.mean_microseconds,
        percentiles=load.percentiles,
        cpu_microseconds=round(cpu / load.answered * 1e6, 2),
    )


def _memory(requests: int, model: Model) -> Memory:
    """What is resident in a server that has just been started, after each fifth of so many calls."""
    memory, part = Memory([], []), max(requests // POINTS, 1)
    call = call_of(CLASSIFY_64, OURS, model.pixels, model.digits)
    with serving(OURS) as process:
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
