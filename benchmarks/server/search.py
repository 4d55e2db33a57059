"""The search for the highest rate at which a server meets its SLO: a bound on the 99th percentile of the open loop."""

from dataclasses import dataclass, field
from typing import Any

from digits.benchmarks.load.call import Call
from digits.benchmarks.load.measure import ServerUnderTest, open_repeat

LONG = 20  # times the SLO, at least, that a rate is tried for: above the capacity, calls queue up for so long
LATE = 0.25  # of the SLO, by which the generator may be late: beyond, it is the limit and not the server
DOWN = 0.9  # times the rate, if the SLO is not met again


@dataclass(frozen=True, slots=True)
class Search:
    """For the highest rate of these calls."""

    server: ServerUnderTest
    calls: list[Call]
    slo_ms: float  # milliseconds of the 99th percentile
    seconds: float  # of each measurement
    seed: int
    tried: list[dict[str, Any]] = field(default_factory=list)  # the repeat of each rate

    def highest(self, bound: float, steps: int) -> float:
        """Calls a second: bisects between 0 and the bound, and tries the rate found with two other seeds.

        The rate counts if one of these two meets the SLO again; otherwise a lower one is tried, and so on.
        """
        met, missed = 0.0, bound
        for _ in range(steps):
            rate = (met + missed) / 2
            met, missed = (rate, missed) if self._meets(rate, 0) else (met, rate)
        while met > bound / 2**steps and not any(self._meets(met, more) for more in (1, 2)):
            met *= DOWN
        return met

    @property
    def is_bounded_by_generator(self) -> bool:
        """Whether the server was never the limit: no rate missed the SLO, or the generator was late at the lowest."""
        missed = [repeat for repeat in self.tried if not meets(repeat, self.slo_ms)]
        if not missed:
            return True
        first = min(missed, key=lambda repeat: float(repeat["offered_calls_per_second"]))
        late = first["sent_late_us"]
        return late is not None and late["p99"] > LATE * self.slo_ms * 1000

    def _meets(self, rate: float, more: int) -> bool:
        seconds = max(self.seconds, LONG * self.slo_ms / 1000)
        repeat = open_repeat(self.server, self.calls, rate=rate, seconds=seconds, seed=self.seed + more)
        self.tried.append(repeat)
        return meets(repeat, self.slo_ms)


def meets(repeat: dict[str, Any], slo_ms: float) -> bool:
    """Whether all calls of a repeat were answered, and 99 % of them in time."""
    return bool(not repeat["failed"] and repeat["latency_us"] and repeat["latency_us"]["p99"] <= slo_ms * 1000)
