"""How fast a published version runs, by batch size and threads, beside Keras, TensorFlow and OpenVINO, in turn.

The JSON's measurements are those of the subjects, with `batch` and `threads` for a load, and of the `machine`, whose
load says what is done in a run, and how many `flop` or `bytes` that is. `findings` tells which subjects no server would
run on this host (`not_served`), what could not be timed (`left_out`), how far each subject is from the golden set's
answers (`max_abs_diff`), and the `roofline` (see engine/roofline.py).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digits.benchmarks.drawing import draw
from digits.benchmarks.engine.figure import throughput
from digits.benchmarks.engine.process import WARM_UP, EngineProcess
from digits.benchmarks.engine.result import EngineResult
from digits.benchmarks.engine.roofline_figure import roofs
from digits.benchmarks.engine.subjects import KERAS_WAYS, OPENVINO
from digits.benchmarks.engine.table import in_words
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.measurement import measurement, measuring
from digits.images import mnist
from digits.model.golden import REFERENCE_TOLERANCE
from digits.model.manifest import FP32
from digits.model.repository import open_repository
from digits.report.cores import usable_cores
from digits.report.number_format import comma_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from digits.benchmarks.settings import EngineBenchmarkSettings

LEAST, MOST = 0.01, 0.2  # seconds of one, unless a single run takes longer
PEAK = 0.1  # seconds of a measurement of a peak, of which the fastest run counts
LARGEST = 65_536  # images: some 400 MB of activations
WARM = f"{WARM_UP} runs of each subject at each batch size, before its first measurement there"
EXACT = (FP32, *KERAS_WAYS, OPENVINO)  # what has to answer as the golden set says; `digits verify` judges the others


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and for how many seconds in all."""

    batches: Sequence[int]
    threads: Sequence[int]
    repeats: int
    seconds: float


USUAL = Plan((1, 4, 16, 64, 256, 1024, 4096), (1, 2), 5, 45.0)
QUICK = Plan((1, 64, 1024), (1,), 2, 1.0)


def run(settings: EngineBenchmarkSettings) -> None:
    """Measures, writes the JSON and the figures, and prints the tables.

    Raises:
        BenchmarkError: nothing can be measured as told; or, after all is written, a subject answers wrongly.
        ModelError: there is no model, or its fp32 does not run.
    """
    plan = planned(settings, usable_cores())
    version = open_repository(settings.models).open()
    print(f"starting a process for each number of threads: {comma_list(plan.threads)}", flush=True)
    with ExitStack() as stack:
        processes = [stack.enter_context(EngineProcess(version, threads)) for threads in plan.threads]
        data = mnist.load(settings.data)
        head = measurement("engine", settings, data, warm_up=WARM, repeats=plan.repeats)
        head["findings"] = {"model": {"version": version.number, "sha256": version.manifest.reference_sha256}}
        result = EngineResult(stack.enter_context(measuring(head, settings.out)), head["findings"])
        for process in processes:
            result.begin(process.threads, process.ready(data.x_test))
        _measure(plan, processes, result)
        result.find_roofline(version)
    _draw(result, settings.out)
    print(in_words(result), flush=True)
    if wrong := result.disagreement(allowed=REFERENCE_TOLERANCE, among=EXACT):
        raise BenchmarkError(wrong)


def planned(settings: EngineBenchmarkSettings, cores: int) -> Plan:
    """What is given stands. Threads without a core of their own are left out, and said to be.

    Raises:
        BenchmarkError: no number of threads fits, or a batch is too large.
    """
    usual = QUICK if settings.quick else USUAL
    batches, threads = settings.batches or usual.batches, settings.threads or usual.threads
    if max(batches) > LARGEST:
        raise BenchmarkError(f"--batches {max(batches)}: takes too much memory; give {LARGEST} at most")
    fitting = [number for number in threads if number <= cores]
    if not fitting:
        raise BenchmarkError(
            f"--threads {comma_list(threads)}: more than the cores of this process; give {cores} at most"
        )
    if more := sorted(set(threads) - set(fitting)):
        print(f"left out: --threads {comma_list(more)}, more than the cores of this process, {cores}", flush=True)
    return Plan(sorted(batches), sorted(fitting), settings.repeats or usual.repeats, usual.seconds)


def _measure(plan: Plan, processes: Sequence[EngineProcess], result: EngineResult) -> None:
    """Everything once in each repeat, in turn."""
    subjects = sum(len(result.subjects(process.threads)) for process in processes)
    seconds = min(max(plan.seconds / (subjects * len(plan.batches) * plan.repeats), LEAST), MOST)
    for repeat in range(1, plan.repeats + 1):
        print(f"repeat {repeat} of {plan.repeats}: peaks of the machine", flush=True)
        for process in processes:
            for name in result.peaks(process.threads):
                result.add_peak(name, process.threads, process.time(name, 0, PEAK))
        for batch in plan.batches:
            print(f"repeat {repeat} of {plan.repeats}: batches of {batch:,}", flush=True)
            for process in processes:
                for name in result.subjects(process.threads):
                    result.add(name, batch, process.threads, process.time(name, batch, seconds))


def _draw(result: EngineResult, out: Path) -> None:
    """Beside the JSON: NAME-throughput.png, NAME-roofline.png. Raises BenchmarkError if one cannot be written."""
    not_served = result.findings["not_served"]
    draw(out, "throughput", throughput(result.measurements, not_served))
    if "roofline" in result.findings:
        draw(out, "roofline", roofs(result.findings["roofline"], not_served))
