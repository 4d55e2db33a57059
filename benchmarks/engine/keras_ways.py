"""The ways in which Keras and TensorFlow run the network of a published version, for their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.engine.subjects import CALL, FUNCTION, PREDICT
from digits.benchmarks.keras_twin import keras_twin
from digits.images.digit import PIXELS, flatten
from digits.model.tensorflow import tf

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from digits.model.repository import ModelVersion

    Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def keras_ways(version: ModelVersion, threads: int) -> dict[str, Run]:
    """By name: from uint8 [n, 28, 28] to probabilities float32 [n, 10] in numpy's memory, as an engine's run.

    TensorFlow's threads are the process's, and set once: hence a process for each number of them.

    Raises:
        BenchmarkError: the version's network cannot be made again in Keras.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    twin, _ = keras_twin(version)

    @tf.function(  # type: ignore[untyped-decorator] # tensorflow is untyped
        input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8)]
    )
    def classify(pixels: Any) -> Any:
        return twin(tf.reshape(tf.cast(pixels, tf.float32) / 255, (-1, PIXELS)), training=False)

    return {
        PREDICT: lambda pixels: twin.predict(flatten(pixels), batch_size=len(pixels), verbose=0),
        CALL: lambda pixels: twin(flatten(pixels), training=False).numpy(),
        FUNCTION: lambda pixels: classify(tf.constant(pixels)).numpy(),
    }
