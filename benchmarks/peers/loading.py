"""One server under one load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.h2load import drive
from digits.benchmarks.peers.result import Measured
from digits.benchmarks.server_statistics import statistics
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
    refused = -_refused(call, process)
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
    refused += _refused(call, process)
    right = load.calls_per_second * max(load.answered - load.failed - refused, 0) / load.answered
    return Measured(
        calls_per_second=right,
        images_per_second=right * call.cell.images,
        failed=load.failed + refused,
        mean_microseconds=load.mean_microseconds,
        percentiles=load.percentiles,
        cpu_microseconds=round(cpu / load.answered * 1e6, 2),
    )


def _refused(call: Call, process: ServerProcess) -> int:
    """How many calls a server of ours has answered with a status since its start, which h2load takes for answers."""
    if call.server not in {OURS, SPINNING, GRPCIO}:
        return 0
    return statistics(process.address).inference_stats.fail.count


def record(measurements: list[dict[str, Any]], subject: str, cell: Cell, one: Measured) -> None:
    """Adds a repeat to what is measured of a subject under a load."""
    load = {"call": cell.call, "images": cell.images, "connections": cell.connections}
    found = [each for each in measurements if (each["subject"], each["load"]) == (subject, load)]
    if not found:
        found = [{"subject": subject, "load": load, "repeats": []}]
        measurements += found
    found[0]["repeats"].append(one.as_repeat())
