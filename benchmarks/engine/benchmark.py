"""How fast a published version runs, by batch size and threads, compared with Keras, TensorFlow and OpenVINO, in turn.

The JSON's measurements are those of the systems, with `batch` and `threads` for a load, and of the `machine`, whose
load has the `peak`, its `work`, and how many `flop` or `bytes` a run has. `findings` has the systems that no server
would run on this host (`not_served`), what could not be timed (`left_out`), by how much each system differs from the
golden set's answers (`max_abs_diff`), and the `roofline` (see engine/roofline.py).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.engine.process import WARM_UP, EngineProcess, Ready, kill_processes
from digits.benchmarks.engine.report import engine_section
from digits.benchmarks.engine.roofline import roofline, work_of
from digits.benchmarks.engine.systems import KERAS_WAYS, OPENVINO, without_folder
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import latency_us
from digits.benchmarks.measurement import Result, measuring
from digits.benchmarks.settings import EngineBenchmarkSettings
from digits.export.errors import ExportError
from digits.images import mnist
from digits.model.golden import REFERENCE_TOLERANCE
from digits.model.manifest import FP32
from digits.model.repository import ModelVersion, open_repository
from digits.report.number_format import comma_list
from digits.storage.cores import usable_cores

LEAST, MOST = 0.01, 0.2  # seconds of a measurement, unless a single run takes longer
PEAK = 0.1  # seconds of a measurement of a peak, of which the fastest run counts
LARGEST = 65_536  # images: some 400 MB of activations
WARM = f"{WARM_UP} runs of each system at each batch size, before its first measurement there"
EXACT = (FP32, *KERAS_WAYS, OPENVINO)  # must answer as the golden set says; `digits verify` judges the others
MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how many seconds in total."""

    batches: Sequence[int]
    threads: Sequence[int]
    repeats: int
    seconds: float


USUAL = Plan((1, 4, 16, 64, 256, 1024, 4096), (1, 2), 5, 45.0)
QUICK = Plan((1, 64, 1024), (1,), 2, 1.0)


def run(settings: EngineBenchmarkSettings) -> None:
    """Measures, writes the JSON and the figures, and prints the tables.

    Raises:
        BenchmarkError: nothing can be measured with these settings; or, after all is written, a system answers wrongly.
        ModelError: there is no model, or its fp32 does not run.
    """
    plan = planned(settings, usable_cores())
    version = open_repository(settings.models).open()
    print(f"starting a process for each number of threads: {comma_list(plan.threads)}", flush=True)
    with ExitStack() as stack:
        data = mnist.load(settings.data)
        stack.callback(kill_processes)
        processes = [EngineProcess(version, threads, data.x_test) for threads in plan.threads]
        written = stack.enter_context(measuring("engine", settings, data, warm_up=WARM, repeats=plan.repeats))
        model = {"version": version.number, "sha256": version.manifest.reference_sha256}
        written.findings.update({"model": model, "not_served": {}, "left_out": {}, "max_abs_diff": {}})
        result = EngineResult(written)
        for process in processes:
            result.begin(process.threads, process.ready())
        _measure(plan, processes, result)
        result.find_roofline(version)
    written.show(engine_section)
    result.require_agreement()


def planned(settings: EngineBenchmarkSettings, cores: int) -> Plan:
    """The settings, completed. Threads without a core of their own are left out with a message.

    Raises:
        BenchmarkError: no number of threads fits, or a batch is too large.
    """
    usual = QUICK if settings.quick else USUAL
    batches, threads = settings.batches or usual.batches, settings.threads or usual.threads
    if max(batches) > LARGEST:
        raise BenchmarkError(f"--batches {max(batches)}: takes too much memory; give {LARGEST} at most")
    fitting = [number for number in threads if number <= cores]
    if not fitting:
        given = comma_list(threads)
        raise BenchmarkError(f"--threads {given}: more than the cores of this process; give {cores} at most")
    if more := sorted(set(threads) - set(fitting)):
        print(f"left out: --threads {comma_list(more)}, more than the cores of this process, {cores}", flush=True)
    return Plan(sorted(batches), sorted(fitting), settings.repeats or usual.repeats, usual.seconds)


@dataclass(frozen=True, slots=True)
class EngineResult:
    """The measurements and findings of the JSON, to which it adds.

    Attributes:
        ready: By threads, what can be timed.
        repeats: By system or peak, batch (0 for a peak) and threads.
    """

    written: Result
    ready: dict[int, Ready] = field(default_factory=dict)
    repeats: dict[tuple[str, int, int], list[dict[str, Any]]] = field(default_factory=dict)

    def begin(self, threads: int, ready: Ready) -> None:
        """Takes over what can be timed with so many threads, and prints what cannot."""
        self.ready[threads] = ready
        for name, found in (("not_served", ready.not_served), ("left_out", ready.left_out)):
            new = {key: why for key, why in found.items() if key not in self.written.findings[name]}
            self.written.findings[name].update(new)
            for system, why in new.items():
                print(f"{name.replace('_', ' ')}: {system}, {why}", flush=True)
        differences = self.written.findings["max_abs_diff"]
        for system, difference in ready.differences.items():
            differences[system] = max(difference, differences.get(system, 0.0))

    def add(self, system: str, batch: int, threads: int, seconds: NDArray[np.float64]) -> None:
        """Adds a repeat of a system, seconds of each run [n]."""
        repeat = {"images_per_second": _rounded(batch / seconds.mean())}
        self._add((system, batch, threads), system, {"batch": batch, "threads": threads}, seconds, repeat)

    def add_peak(self, name: str, threads: int, seconds: NDArray[np.float64]) -> None:
        """Adds a repeat of a peak of the machine: the fastest run counts."""
        work, unit, amount = self.ready[threads].peaks[name]
        load = {"peak": name, "work": work, unit: amount, "threads": threads}
        self._add((name, 0, threads), MACHINE, load, seconds, {f"{unit}_per_second": _rounded(amount / seconds.min())})

    def find_roofline(self, version: ModelVersion) -> None:
        """Computes the roofline, if the network consists of dense layers."""
        try:
            work = work_of(version)
        except ExportError as error:
            self.written.findings["left_out"]["roofline"] = why = without_folder(version, error)
            print(f"left out: roofline, {why}", flush=True)
            return
        peaks = {
            threads: {
                name: max(repeat[f"{unit}_per_second"] for repeat in self.repeats[name, 0, threads])
                for name, (_, unit, _) in ready.peaks.items()
            }
            for threads, ready in self.ready.items()
        }
        rates: dict[str, dict[tuple[int, int], float]] = {}
        for (system, batch, threads), repeats in self.repeats.items():
            if batch:
                rate = median(repeat["images_per_second"] for repeat in repeats)
                rates.setdefault(system, {})[batch, threads] = rate
        self.written.findings["roofline"] = roofline(work, rates, peaks)

    def require_agreement(self) -> None:
        """Raises BenchmarkError if a system that must answer as the golden set says does not."""
        off = {name: far for name, far in self.written.findings["max_abs_diff"].items() if name in EXACT}
        off = {name: far for name, far in off.items() if not far <= REFERENCE_TOLERANCE}
        if off:
            worst = max(off, key=lambda name: off[name])
            raise BenchmarkError(
                f"{worst} differs from the golden set's answers by {off[worst]:.2g}, at most {REFERENCE_TOLERANCE:.0e} "
                "is allowed; run `digits bench parity` to see the images"
            )

    def _add(
        self, key: tuple[str, int, int], system: str, load: dict[str, Any], seconds: NDArray[np.float64], repeat: Any
    ) -> None:
        if key not in self.repeats:
            self.repeats[key] = self.written.repeats(system, load)
        self.repeats[key].append({"runs": len(seconds), **repeat, "latency_us": latency_us(seconds)})


def _measure(plan: Plan, processes: Sequence[EngineProcess], result: EngineResult) -> None:
    """Everything once in each repeat, in turn."""
    systems = sum(len(result.ready[process.threads].systems) for process in processes)
    seconds = min(max(plan.seconds / (systems * len(plan.batches) * plan.repeats), LEAST), MOST)
    for repeat in range(1, plan.repeats + 1):
        print(f"repeat {repeat} of {plan.repeats}: peaks of the machine", flush=True)
        for process in processes:
            for name in result.ready[process.threads].peaks:
                result.add_peak(name, process.threads, process.time(name, 0, PEAK))
        for batch in plan.batches:
            print(f"repeat {repeat} of {plan.repeats}: batches of {batch:,}", flush=True)
            for process in processes:
                for name in result.ready[process.threads].systems:
                    result.add(name, batch, process.threads, process.time(name, batch, seconds))


def _rounded(rate: float) -> float:
    """To six digits, more than a clock can tell."""
    return float(f"{rate:.6g}")
