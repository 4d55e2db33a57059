"""What `digits bench engine` times: each variant of a version, and what else can run its network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError
from digits.export.openvino import openvino_run
from digits.model.engine import Engine
from digits.model.errors import ModelError
from digits.model.manifest import FP32
from digits.model.parity import compare
from digits.model.selection import select

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from digits.model.golden import Golden
    from digits.model.repository import ModelVersion

    Run = Callable[[NDArray[np.uint8]], Any]

OPENVINO = "OpenVINO"
PREDICT, CALL, FUNCTION = KERAS_WAYS = ("Keras predict", "Keras call", "tf.function")


@dataclass(frozen=True, slots=True)
class Subjects:
    """On so many threads of the CPU.

    Attributes:
        runs: By name: from uint8 [n, 28, 28] to probabilities float32 [n, 10].
        not_served: Of those, which no server would run on this host, and why.
        left_out: What cannot be timed, and why.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    not_served: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def differences(self, golden: Golden) -> dict[str, float]:
        """Of each, the largest |difference of a probability| from the golden set's reference."""
        return {name: compare(run(golden.pixels), golden.reference).max_abs_diff for name, run in self.runs.items()}


def open_subjects(version: ModelVersion, threads: int) -> Subjects:
    """Opens all that runs here. Raises ModelError if fp32 does not."""
    found = Subjects()
    for variant in version.manifest.variants:
        _add_variant(found, version, variant, threads)
    try:
        from digits.benchmarks.engine.keras_ways import keras_ways

        found.runs.update(keras_ways(version, threads))
    except BenchmarkError as error:
        found.left_out["Keras, tf.function"] = without_place(version, error)
    openvino = openvino_run(version.file(FP32)) if threads == 1 else None
    if openvino:
        found.runs[OPENVINO] = openvino
    elif threads == 1:
        found.left_out[OPENVINO] = "is not installed (digits-serving[bench]), or does not know the graph"
    return found


def _add_variant(found: Subjects, version: ModelVersion, variant: str, threads: int) -> None:
    """As the server would choose it; what it would refuse is timed all the same, and marked."""
    try:
        engine = select(version, precision=variant, provider="cpu", threads=threads).engine  # type: ignore[arg-type] # a manifest's name
    except ModelError as refusal:
        try:
            engine = Engine(version.file(variant), provider="cpu", threads=threads)
        except ModelError as error:
            if variant == FP32:
                raise
            found.left_out[variant] = without_place(version, error)
            return
        found.not_served[variant] = without_place(version, refusal)
    found.runs[variant] = engine.run


def without_place(version: ModelVersion, error: Exception) -> str:
    """What an error says, without the place of the model on this machine."""
    return str(error).replace(f"{version.folder}/", "").removeprefix(f"{version.folder}: ")
