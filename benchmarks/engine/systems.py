"""What `digits bench engine` times: each variant of a version, and what else can run its network."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.export.evidence import openvino_run
from digits.model.engine import Engine
from digits.model.errors import ModelError
from digits.model.manifest import FP32
from digits.model.repository import ModelVersion
from digits.model.selection import select

Run = Callable[[NDArray[np.uint8]], Any]  # from uint8 [n, 28, 28] to probabilities float32 [n, 10]

OPENVINO = "OpenVINO"
PREDICT, CALL, FUNCTION = KERAS_WAYS = ("Keras predict", "Keras call", "tf.function")


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
