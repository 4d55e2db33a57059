"""How fast a published version runs, by batch size and threads, compared with Keras, TensorFlow and OpenVINO, in turn.

The JSON's measurements are those of the systems, with `batch` and `threads` for a load, and of the `machine`, whose
load has the `peak`, its `work`, and how many `flop` or `bytes` a run has. `findings` has the systems that no server
would run on this host (`not_served`), what could not be timed (`left_out`), by how much each system differs from the
golden set's answers (`max_abs_diff`), and the `roofline` (see engine/roofline.py).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.engine.process import (
    KERAS_WAYS,
    OPENVINO,
    WARM_UP,
    EngineProcess,
    kill_processes,
    without_folder,
)
from digits.benchmarks.engine.report import engine_section
from digits.benchmarks.engine.roofline import roofline, work_of
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import latency_us
from digits.benchmarks.measurement import Result, measuring
from digits.benchmarks.settings import EngineBenchmarkSettings
from digits.export.errors import ExportError
from digits.images import mnist
from digits.model.golden import REFERENCE_TOLERANCE
from digits.model.manifest import FP32
from digits.model.repository import open_repository
from digits.report.number_format import comma_list
from digits.storage.cores import usable_cores

LEAST, MOST = 0.01, 0.2  # seconds of a measurement, unless a single run takes longer
PEAK = 0.1  # seconds of a measurement of a peak, of which the fastest run counts
LARGEST = 65_536  # images: some 400 MB of activations
WARM = f"{WARM_UP} runs of each system at each batch size, before its first measurement there"
EXACT = (FP32, *KERAS_WAYS, OPENVINO)  # must answer as the golden set says; `digits verify` judges the others


class Plan(NamedTuple):
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
        result = stack.enter_context(measuring("engine", settings, data, warm_up=WARM, repeats=plan.repeats))
        model = {"version": version.number, "sha256": version.manifest.reference_sha256}
        result.findings.update({"model": model, "not_served": {}, "left_out": {}, "max_abs_diff": {}})
        for process in processes:
            _note(result.findings, process)
        _measure(plan, processes, result)
        try:
            result.findings["roofline"] = roofline(work_of(version), result.rows)
        except ExportError as error:
            result.findings["left_out"]["roofline"] = why = without_folder(version, error)
            print(f"left out: roofline, {why}", flush=True)
    result.show(engine_section)
    _require_agreement(result.findings["max_abs_diff"])


def planned(settings: EngineBenchmarkSettings, cores: int) -> Plan:
    """The settings, completed. Threads without a core of their own are left out with a message.

    Raises BenchmarkError if no number of threads fits, or a batch is too large.
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


def _note(findings: dict[str, Any], process: EngineProcess) -> None:
    """Waits for a process, takes over what it cannot time or no server would run, and prints that."""
    ready = process.ready()
    for name, found in (("not_served", ready.not_served), ("left_out", ready.left_out)):
        for system, why in found.items():
            if system not in findings[name]:
                findings[name][system] = why
                print(f"{name.replace('_', ' ')}: {system}, {why}", flush=True)
    differences = findings["max_abs_diff"]
    for system, difference in ready.differences.items():
        differences[system] = max(difference, differences.get(system, 0.0))


def _measure(plan: Plan, processes: Sequence[EngineProcess], result: Result) -> None:
    """Everything once in each repeat, in turn."""
    systems = sum(len(process.ready().systems) for process in processes)
    least = min(max(plan.seconds / (systems * len(plan.batches) * plan.repeats), LEAST), MOST)
    for repeat in range(1, plan.repeats + 1):
        print(f"repeat {repeat} of {plan.repeats}: peaks of the machine", flush=True)
        for process in processes:
            for name, (work, unit, amount) in process.ready().peaks.items():
                load = {"peak": name, "work": work, unit: amount, "threads": process.threads}
                seconds = process.time(name, 0, PEAK)
                _add(result, "machine", load, seconds, {f"{unit}_per_second": amount / seconds.min()})
        for batch in plan.batches:
            print(f"repeat {repeat} of {plan.repeats}: batches of {batch:,}", flush=True)
            for process in processes:
                for name in process.ready().systems:
                    load, seconds = {"batch": batch, "threads": process.threads}, process.time(name, batch, least)
                    _add(result, name, load, seconds, {"images_per_second": batch / seconds.mean()})


def _add(result: Result, system: str, load: Any, seconds: NDArray[np.float64], rate: dict[str, float]) -> None:
    """Adds a repeat, with the rate to six digits: more than a clock can tell."""
    rounded = {measure: float(f"{value:.6g}") for measure, value in rate.items()}
    result.repeats(system, load).append({"runs": len(seconds), **rounded, "latency_us": latency_us(seconds)})


def _require_agreement(differences: dict[str, float]) -> None:
    """Raises BenchmarkError if a system that must answer as the golden set says does not."""
    off = {name: far for name, far in differences.items() if name in EXACT and not far <= REFERENCE_TOLERANCE}
    if off:
        worst = max(off, key=lambda name: off[name])
        raise BenchmarkError(
            f"{worst} differs from the golden set's answers by {off[worst]:.2g}, at most {REFERENCE_TOLERANCE:.0e} "
            "is allowed; run `digits bench parity` to see the images"
        )
