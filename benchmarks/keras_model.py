"""The Keras model behind a published version: that of its run, or rebuilt from its fp32 ONNX graph."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.export.dense_layers import dense_layers
from digits.export.errors import ExportError
from digits.export.imported_model import read_onnx
from digits.export.settings import ImportSettings
from digits.images.digit import PIXELS, flatten
from digits.model.golden import Golden
from digits.model.manifest import FP32
from digits.model.parity import compare
from digits.model.repository import ModelVersion
from digits.model.tensorflow import keras
from digits.storage.checksums import file_sha256
from digits.train.run_folder import MODEL

TOLERANCE = 1e-5  # of a probability, from the one that was recorded at the export


class KerasModel(NamedTuple):
    """A Keras model that answers the golden set as recorded at the export."""

    network: Any  # takes float32 [n, 784] of 0 to 1, as `digits.images.digit.flatten` makes them; float32 [n, 10]
    origin: str  # where it comes from, for people
    off: float  # by how much its probabilities differ at most, on the golden set, from the recorded ones

    def answer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities float32 [n, 10] of images uint8 [n, 28, 28]."""
        return self.network.predict(flatten(pixels), batch_size=1024, verbose=0)  # type: ignore[no-any-return] # untyped


def keras_model(version: ModelVersion, run: Path | None = None) -> KerasModel:
    """The Keras model that a version was exported from: the run's own, or one with the weights of fp32.

    Raises:
        BenchmarkError: the version does not come from a Keras run, the run is not its run, its graph has other layers
            than dense ones, or the model does not answer the golden set as recorded.
    """
    network = _of_run(version, run) if run else _rebuilt(version)
    golden = Golden.read(version.golden)
    answers = keras.ops.convert_to_numpy(network(flatten(golden.pixels), training=False))
    parity = compare(answers, golden.reference) if answers.shape == golden.reference.shape else None
    if parity is None or not parity.max_abs_diff <= TOLERANCE:
        off = f"by {parity.max_abs_diff:.2g}" if parity else f"in shape, {answers.shape}"
        what = f"{run}: Keras" if run else f"{version.folder}: rebuilt Keras"
        raise BenchmarkError(
            f"{what} differs from the answers recorded at the export {off}, at most {TOLERANCE:.0e} is allowed; "
            "run `digits verify` to check the version"
        )
    origin = f"{MODEL} of the run" if run else "rebuilt from the weights of fp32"
    return KerasModel(network, origin, parity.max_abs_diff)


def _of_run(version: ModelVersion, run: Path) -> Any:
    from digits.export.keras_model import load_keras

    try:
        sha256 = file_sha256(run / MODEL)
    except OSError as error:
        raise BenchmarkError(f"{run / MODEL}: cannot be read ({error.strerror}); give a run folder") from error
    if sha256 != version.manifest.reference_sha256:
        raise BenchmarkError(f"{run}: version {version.number} was not exported from it; give its run, or no run")
    return load_keras(run / MODEL)


def _rebuilt(version: ModelVersion) -> Any:
    """The weights come from the graph, the activation of the hidden layers from the report of the training."""
    activation = version.manifest.training.get("settings", {}).get("activation")
    if activation is None:
        raise BenchmarkError(f"{version.folder}: not from a Keras run, but from {version.manifest.reference}")
    path = version.file(FP32)
    try:
        layers = dense_layers(read_onnx(path, ImportSettings()).core)
        names = [activation] * (len(layers) - 1) + ["softmax"]
        dense = [keras.layers.Dense(len(layer.bias), name) for layer, name in zip(layers, names, strict=True)]
        network = keras.Sequential([keras.Input((PIXELS,)), *dense], name="digits")
        network.set_weights([array for layer in layers for array in (layer.weights, layer.bias)])
    except (ExportError, ValueError) as error:  # of Keras, if it has no such activation or the layers do not fit
        raise BenchmarkError(f"{path}: not a graph of dense layers that Keras can rebuild ({error})") from error
    return network
