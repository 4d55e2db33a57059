"""What a load costs its server: processor time, memory, and its own account of waiting and computing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from digits.benchmarks.server_statistics import statistics

if TYPE_CHECKING:
    from digits.benchmarks.process import ServerProcess


@dataclass(frozen=True, slots=True)
class Subject:
    """A server under load.

    Attributes:
        name: Such as "digits, native".
        address: HOST:PORT.
        process: Where it was started here.
        counts: Whether it gives the statistics of the Open Inference Protocol.
    """

    name: str
    address: str
    process: ServerProcess | None = None
    counts: bool = True


class Counts(NamedTuple):
    """Sums since the server's start."""

    cpu_seconds: float
    calls: int = 0
    images: int = 0
    batches: int = 0
    failed: int = 0
    queue_ns: int = 0
    compute_ns: int = 0


class Meter:
    """Begins with the load that it is to measure."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._before = self._counts()

    def numbers(self, calls: int) -> dict[str, float]:
        """Of the calls since its beginning, of which so many were answered: by their names in a repeat."""
        process, counts = self._subject.process, self._counts()
        grown = Counts._make(after - before for after, before in zip(counts, self._before, strict=True))
        found = {}
        if process is not None and calls:
            found["cpu_us"] = round(grown.cpu_seconds / calls * 1e6, 2)
            found["resident_mb"] = round(process.resident_mb(), 2)
        if grown.calls:
            found["server_queue_us"] = round(grown.queue_ns / grown.calls / 1e3, 2)
            found["server_compute_us"] = round(grown.compute_ns / grown.calls / 1e3, 2)
            found["images_a_batch"] = round(grown.images / grown.batches, 2)
            found["refused"] = grown.failed
        return found

    def _counts(self) -> Counts:
        subject = self._subject
        cpu = subject.process.cpu_seconds() if subject.process else 0.0
        if not subject.counts:
            return Counts(cpu)
        model = statistics(subject.address)
        stats = model.inference_stats
        return Counts(
            cpu,
            calls=stats.success.count,
            images=model.inference_count,
            batches=model.execution_count,
            failed=stats.fail.count,
            queue_ns=stats.queue.ns,
            compute_ns=stats.compute_infer.ns,
        )
