"""The highest rate at which a server keeps a promise: a bound on the 99th percentile of the open loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.server.loads import in_the_open

if TYPE_CHECKING:
    from digits.benchmarks.generator import Request
    from digits.benchmarks.server.meter import Subject


def search(
    subject: Subject, requests: list[Request], *, highest: float, slo_ms: float, seconds: float, steps: int, seed: int
) -> tuple[float, list[dict[str, Any]]]:
    """Bisects between no call and `highest` calls a second.

    Returns:
        The highest rate that was kept, 0.0 if none was; and what was seen at every rate that was tried.
    """
    kept, broken, tried = 0.0, highest, []
    for _ in range(steps):
        rate = (kept + broken) / 2
        seen = in_the_open(subject, requests, rate=rate, seconds=seconds, seed=seed)
        tried.append(seen)
        if keeps(seen, slo_ms):
            kept = rate
        else:
            broken = rate
    return kept, tried


def keeps(seen: dict[str, Any], slo_ms: float) -> bool:
    """Whether all calls of a repeat were answered, and 99 % of them in time: those that queue up for ever are not."""
    return bool(not seen["failed"] and seen["latency_us"] and seen["latency_us"]["p99"] <= slo_ms * 1000)
