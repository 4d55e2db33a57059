"""The highest rate at which a server keeps a promise: a bound on the 99th percentile of the open loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from digits.benchmarks.server.loads import in_the_open

if TYPE_CHECKING:
    from digits.benchmarks.generator import Request
    from digits.benchmarks.server.meter import Subject

LONG = 20  # times the bound, at least, that a rate is tried for: calls above the capacity queue up for so long
LATE = 0.25  # of the bound, that the generator may send late: beyond, it is the limit and not the server
DOWN = 0.9  # times the rate, if it is not kept again


@dataclass(frozen=True, slots=True)
class Search:
    """For the highest rate of calls with these requests.

    Attributes:
        tried: What was seen at each rate.
    """

    subject: Subject
    requests: list[Request]
    slo_ms: float
    seconds: float
    seed: int
    tried: list[dict[str, Any]] = field(default_factory=list)

    def highest(self, bound: float, steps: int) -> float:
        """Calls a second: bisects between none and the bound, and tries what it has found with two seeds more.

        A rate is found if one of these two keeps it too; otherwise a lower one is tried, and so on.
        """
        kept, broken = 0.0, bound
        for _ in range(steps):
            rate = (kept + broken) / 2
            kept, broken = (rate, broken) if self._keeps(rate, 0) else (kept, rate)
        while kept > bound / 2**steps and not any(self._keeps(kept, more) for more in (1, 2)):
            kept *= DOWN
        return kept

    @property
    def is_bounded_by_generator(self) -> bool:
        """Whether no server was found wanting: nothing broke, or the generator was late itself where it did first."""
        broken = [seen for seen in self.tried if not keeps(seen, self.slo_ms)]
        if not broken:
            return True
        first = min(broken, key=lambda seen: float(seen["offered_calls_per_second"]))
        late = first["sent_late_us"]
        return late is not None and late["p99"] > LATE * self.slo_ms * 1000

    def _keeps(self, rate: float, more: int) -> bool:
        seconds = max(self.seconds, LONG * self.slo_ms / 1000)
        seen = in_the_open(self.subject, self.requests, rate=rate, seconds=seconds, seed=self.seed + more)
        self.tried.append(seen)
        return keeps(seen, self.slo_ms)


def keeps(seen: dict[str, Any], slo_ms: float) -> bool:
    """Whether the calls of a repeat were answered, all of them, and 99 % of them in time."""
    return bool(not seen["failed"] and seen["latency_us"] and seen["latency_us"]["p99"] <= slo_ms * 1000)
