"""What is timed: each variant of a version, and what else can run its network, in a process for each number of threads.

TensorFlow's threads cannot be changed once it runs.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.engine.peaks import open_peaks
from digits.benchmarks.errors import BenchmarkError
from digits.export.evidence import openvino_run
from digits.model.engine import Engine
from digits.model.errors import ModelError
from digits.model.golden import Golden
from digits.model.manifest import FP32
from digits.model.parity import compare
from digits.model.repository import ModelVersion
from digits.model.selection import select

Run = Callable[[NDArray[np.uint8]], Any]  # from uint8 [n, 28, 28] to probabilities float32 [n, 10]

OPENVINO = "OpenVINO"
PREDICT, CALL, FUNCTION = KERAS_WAYS = ("Keras predict", "Keras call", "tf.function")
WARM_UP = 2  # runs
# In the process: what is timed, by system or peak; one array of images; and what has been warmed up.
RUNS: dict[str, Callable[[NDArray[np.uint8]], object]] = {}
IMAGES: list[NDArray[np.uint8]] = []
WARM: set[tuple[str, int]] = set()


class Ready(NamedTuple):
    """What can be timed in a process."""

    systems: list[str]
    not_served: dict[str, str]  # of those, which no server would run on this host, and why
    left_out: dict[str, str]  # what cannot be timed, and why
    differences: dict[str, float]  # each system's largest |difference of a probability| from the golden reference
    peaks: dict[str, tuple[str, str, int]]  # of each peak its work, its unit, and how many of them in a run


class EngineProcess:
    """Times systems with so many threads, one after the other, in batches of images uint8 [n, 28, 28]."""

    def __init__(self, version: ModelVersion, threads: int, pixels: NDArray[np.uint8]) -> None:
        """Starts it without waiting for it."""
        self.threads = threads
        self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: the parent handles Ctrl-C
        try:
            self._ready = self._executor.submit(_open, version, threads, pixels)
        finally:
            signal.signal(signal.SIGINT, ours)

    def ready(self) -> Ready:
        """Waits until everything is open. Raises ModelError if fp32 cannot run here, BenchmarkError if it has ended."""
        found: Ready = self._result(self._ready)
        return found

    def time(self, name: str, batch: int, seconds: float) -> NDArray[np.float64]:
        """Seconds of each run [n] of a system or a peak, at least one. Raises BenchmarkError if the process ended."""
        runs: NDArray[np.float64] = self._result(self._executor.submit(_time, name, batch, seconds))
        return runs

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise BenchmarkError(
                f"the process for --threads {self.threads} was killed; "
                "if there is no message above, it may lack memory: give smaller --batches"
            ) from error


def kill_processes() -> None:
    """Ends all of them at once, in the middle of a run too."""
    for process in multiprocessing.active_children():
        process.kill()


def _open(version: ModelVersion, threads: int, pixels: NDArray[np.uint8]) -> Ready:
    found = open_systems(version, threads)
    peaks, golden = open_peaks(threads, version), Golden.read(version.golden)
    IMAGES.append(pixels)
    RUNS.update(found.runs | {name: peak.run for name, peak in peaks.items()})
    off = {name: compare(run(golden.pixels), golden.reference).max_abs_diff for name, run in found.runs.items()}
    return Ready([*found.runs], found.not_served, found.left_out, off, {name: one[1:] for name, one in peaks.items()})


def _time(name: str, batch: int, seconds: float) -> NDArray[np.float64]:
    run, images = RUNS[name], np.resize(IMAGES[0], (batch, 28, 28))
    for _ in range(0 if (name, batch) in WARM else WARM_UP):
        run(images)
    WARM.add((name, batch))
    times = [time.perf_counter()]
    while times[-1] < times[0] + seconds or len(times) < 2:  # noqa: PLR2004 one run
        run(images)
        times.append(time.perf_counter())
    return np.diff(times)


class Systems(NamedTuple):
    """What can be timed with so many threads of the CPU."""

    runs: dict[str, Run]
    not_served: dict[str, str]  # of those, which no server would run on this host, and why
    left_out: dict[str, str]  # what cannot be timed, and why


def open_systems(version: ModelVersion, threads: int) -> Systems:
    """Opens all that runs here. Raises ModelError if fp32 does not."""
    found = Systems({}, {}, {})
    for variant in version.manifest.variants:
        _add_variant(found, version, variant, threads)
    try:
        found.runs.update(_keras_ways(version, threads))
    except BenchmarkError as error:
        found.left_out["Keras, tf.function"] = without_folder(version, error)
    openvino = openvino_run(version.file(FP32)) if threads == 1 else None
    if openvino:
        found.runs[OPENVINO] = openvino
    elif threads == 1:
        found.left_out[OPENVINO] = "is not installed (digits-serving[bench]), or does not support the graph"
    return found


def _add_variant(found: Systems, version: ModelVersion, variant: str, threads: int) -> None:
    """As the server would open it; what it would reject is timed all the same, and marked."""
    try:
        try:
            select(version, precision=variant, provider="cpu", threads=threads)  # type: ignore[arg-type] # a manifest's name
        except ModelError as rejection:
            found.not_served[variant] = without_folder(version, rejection)
        found.runs[variant] = Engine(version.file(variant), provider="cpu", threads=threads).run
    except ModelError as error:
        if variant == FP32:
            raise
        del found.not_served[variant]
        found.left_out[variant] = without_folder(version, error)


def _keras_ways(version: ModelVersion, threads: int) -> dict[str, Run]:
    """Raises BenchmarkError if the version's network cannot be rebuilt in Keras.

    TensorFlow's threads belong to the process and are set once: so each number of them has its own process.
    """
    from digits.benchmarks.keras_model import keras_model
    from digits.images.digit import PIXELS, flatten
    from digits.model.tensorflow import tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    network = keras_model(version).network

    @tf.function(  # type: ignore[untyped-decorator] # tensorflow is untyped
        input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8)]
    )
    def classify(pixels: Any) -> Any:
        return network(tf.reshape(tf.cast(pixels, tf.float32) / 255, (-1, PIXELS)), training=False)

    return {
        PREDICT: lambda pixels: network.predict(flatten(pixels), batch_size=len(pixels), verbose=0),
        CALL: lambda pixels: network(flatten(pixels), training=False).numpy(),
        FUNCTION: lambda pixels: classify(tf.constant(pixels)).numpy(),
    }


def without_folder(version: ModelVersion, error: Exception) -> str:
    """An error's text without the model's folder on this machine."""
    return str(error).replace(f"{version.folder}/", "").removeprefix(f"{version.folder}: ")
