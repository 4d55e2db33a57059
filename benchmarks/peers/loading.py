"""One server under one load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.calls import refusals
from digits.benchmarks.h2load import drive
from digits.benchmarks.peers.result import Measured
from digits.benchmarks.settings import GRPCIO, OURS, SPINNING

if TYPE_CHECKING:
    from digits.benchmarks.calls import Call
    from digits.benchmarks.cells import Cell
    from digits.benchmarks.process import ServerProcess


def measured(call: Call, process: ServerProcess, seconds: float) -> Measured:
    """Checks an answer, then loads the server for so many seconds; a call that failed counts as none.

    Raises:
        BenchmarkError: it answers wrongly, or so many calls failed that it is not measured at all.
    """
    reply_bytes = call.require_answer(process.address)
    before = process.cpu_seconds()
    load = drive(
        process.address,
        call.method,
        call.message,
        connections=call.cell.connections,
        seconds=seconds,
        content_type=call.content_type,
    )
    cpu = process.cpu_seconds() - before
    call.require_answers(load, reply_bytes)
    refused = refusals(process.address) if call.server in {OURS, SPINNING, GRPCIO} else 0
    right = load.calls_per_second * max(load.answered - load.failed, 0) / load.answered
    return Measured(
        calls_per_second=right,
        images_per_second=right * call.cell.images,
        failed=load.failed + refused,
        mean_microseconds=load.mean_microseconds,
        percentiles=load.percentiles,
        cpu_microseconds=round(cpu / load.answered * 1e6, 2),
    )


def record(measurements: list[dict[str, Any]], subject: str, cell: Cell, one: Measured) -> None:
    """Adds a repeat to what is measured of a subject under a load."""
    load = {"call": cell.call, "images": cell.images, "connections": cell.connections}
    found = [each for each in measurements if (each["subject"], each["load"]) == (subject, load)]
    if not found:
        found = [{"subject": subject, "load": load, "repeats": []}]
        measurements += found
    found[0]["repeats"].append(one.as_repeat())
