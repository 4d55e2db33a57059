"""What `digits bench engine` has found: its measurements, as its JSON holds them, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from digits.benchmarks.engine.roofline import roofline, work_of
from digits.benchmarks.engine.subjects import without_place
from digits.benchmarks.latency import latency_us
from digits.export.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from digits.benchmarks.engine.process import Ready
    from digits.model.repository import ModelVersion

    Load = tuple[int, int]  # batch and threads

MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class EngineResult:
    """Measurements and findings.

    Attributes:
        measurements: Those of the JSON, added to as they are made.
        findings: Those of the JSON.
    """

    measurements: list[dict[str, Any]]
    findings: dict[str, Any]
    _ready: dict[int, Ready] = field(default_factory=dict)
    _repeats: dict[tuple[str, int, int], list[dict[str, Any]]] = field(default_factory=dict)

    def begin(self, threads: int, ready: Ready) -> None:
        """Takes over what can be timed on so many threads, and says what cannot."""
        self._ready[threads] = ready
        for name in ("not_served", "left_out"):
            new = {key: why for key, why in getattr(ready, name).items() if key not in self.findings.get(name, {})}
            self.findings.setdefault(name, {}).update(new)
            for subject, why in new.items():
                print(f"{name.replace('_', ' ')}: {subject}, {why}", flush=True)
        differences = self.findings.setdefault("max_abs_diff", {})
        for subject, difference in ready.differences.items():
            differences[subject] = max(difference, differences.get(subject, 0.0))

    def subjects(self, threads: int) -> list[str]:
        """The subjects that run on so many threads."""
        return self._ready[threads].subjects

    def peaks(self, threads: int) -> list[str]:
        """The peaks of the machine."""
        return list(self._ready[threads].peaks)

    def add(self, subject: str, batch: int, threads: int, seconds: NDArray[np.float64]) -> None:
        """Takes in one measurement of a subject, seconds of each run [n]."""
        load = {"batch": batch, "threads": threads}
        repeat = {"images_per_second": _rounded(batch / seconds.mean())}
        self._add((subject, batch, threads), subject, load, seconds, repeat)

    def add_peak(self, name: str, threads: int, seconds: NDArray[np.float64]) -> None:
        """Takes in one measurement of a peak of the machine: the fastest run counts."""
        words, unit, amount = self._ready[threads].peaks[name]
        load = {"peak": name, "work": words, unit: amount, "threads": threads}
        self._add((name, 0, threads), MACHINE, load, seconds, {f"{unit}_per_second": _rounded(amount / seconds.min())})

    def find_roofline(self, version: ModelVersion) -> None:
        """Computes the roofline, unless the network is none of dense layers."""
        try:
            work = work_of(version)
        except ExportError as error:
            self.findings["left_out"]["roofline"] = why = without_place(version, error)
            print(f"left out: roofline, {why}", flush=True)
            return
        peaks = {
            threads: {
                name: max(each[f"{unit}_per_second"] for each in self._repeats[name, 0, threads])
                for name, (_, unit, _) in ready.peaks.items()
            }
            for threads, ready in self._ready.items()
        }
        self.findings["roofline"] = roofline(work, self.rates(), peaks)

    def rates(self) -> dict[str, dict[Load, float]]:
        """Images a second of each subject by batch size and threads, the median of the repeats."""
        found: dict[str, dict[Load, float]] = {}
        for (subject, *load), repeats in self._repeats.items():
            if "images_per_second" in repeats[0]:
                batch, threads = load
                rate = median(each["images_per_second"] for each in repeats)
                found.setdefault(subject, {})[batch, threads] = rate
        return found

    def disagreement(self, allowed: float, among: Collection[str]) -> str | None:
        """What of the subjects among these is too far off the golden set's answers, in words; None if all are near."""
        off = {name: far for name, far in self.findings["max_abs_diff"].items() if name in among and not far <= allowed}
        if not off:
            return None
        worst = max(off, key=lambda name: off[name])
        return (
            f"{worst} is off the golden set's answers by {off[worst]:.2g}, and {allowed:.0e} is allowed; "
            "say `digits bench parity` to see on which images"
        )

    def _add(self, key: tuple[str, int, int], subject: str, load: dict[str, Any], seconds: Any, repeat: Any) -> None:
        if key not in self._repeats:
            self._repeats[key] = []
            self.measurements.append({"subject": subject, "load": load, "repeats": self._repeats[key]})
        self._repeats[key].append({"runs": len(seconds), **repeat, "latency_us": latency_us(seconds)})


def _rounded(rate: float) -> float:
    """To six digits, more than any clock tells."""
    return float(f"{rate:.6g}")
