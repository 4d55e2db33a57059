"""The Keras network behind a published version, made again of its fp32 ONNX graph: to compare with, never served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.errors import BenchmarkError
from digits.export.dense_layers import dense_layers
from digits.export.errors import ExportError
from digits.export.imported_model import read_onnx
from digits.export.settings import ImportSettings
from digits.images.digit import PIXELS, flatten
from digits.model.golden import Golden
from digits.model.manifest import FP32
from digits.model.parity import compare
from digits.model.tensorflow import keras

if TYPE_CHECKING:
    from digits.export.dense_layers import DenseLayer
    from digits.model.repository import ModelVersion

TOLERANCE = 1e-5  # of a probability, from the one that was recorded at the export


def keras_twin(version: ModelVersion) -> tuple[Any, float]:
    """Takes float32 [n, 784] in 0 to 1, as `digits.images.digit.flatten` makes them; gives float32 [n, 10].

    The weights come from the graph, the hidden layers' activation from the report of the training, and the golden set
    proves that they belong together.

    Returns:
        The network, and by how much its probabilities are off the recorded ones at most.

    Raises:
        BenchmarkError: the version comes from no Keras run, its graph has other layers than dense ones, or the twin
            does not answer the golden set as the original did.
    """
    activation = version.manifest.training.get("settings", {}).get("activation")
    if activation is None:
        raise BenchmarkError(f"{version.folder}: comes from no Keras run, but from {version.manifest.reference}")
    path = version.file(FP32)
    try:
        layers = dense_layers(read_onnx(path, ImportSettings()).core)
        twin = _network(layers, activation)
    except (ExportError, ValueError) as error:
        raise BenchmarkError(f"{path}: is no graph of dense layers that Keras can make again ({error})") from error
    return twin, _off(twin, version)


def _network(layers: list[DenseLayer], activation: str) -> Any:
    """Raises ValueError if the layers do not fit onto each other, or Keras has no such activation."""
    names = [activation] * (len(layers) - 1) + ["softmax"]
    dense = [keras.layers.Dense(len(layer.bias), name) for layer, name in zip(layers, names, strict=True)]
    twin = keras.Sequential([keras.Input((PIXELS,)), *dense], name="digits")
    twin.set_weights([array for layer in layers for array in (layer.weights, layer.bias)])
    return twin


def _off(twin: Any, version: ModelVersion) -> float:
    golden = Golden.read(version.golden)
    answers = keras.ops.convert_to_numpy(twin(flatten(golden.pixels), training=False))
    parity = compare(answers, golden.reference) if answers.shape == golden.reference.shape else None
    if parity is None or not parity.max_abs_diff <= TOLERANCE:
        off = f"by {parity.max_abs_diff:.2g}" if parity else f"in shape, {answers.shape}"
        raise BenchmarkError(
            f"{version.folder}: its Keras twin is off the recorded answers {off}, and {TOLERANCE:.0e} is allowed; "
            "say `digits verify` to see whether the version is whole"
        )
    return parity.max_abs_diff
