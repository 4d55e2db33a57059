"""Keras models from elsewhere: .keras and .h5 files, and the SavedModel folders of Keras and TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.export.errors import ExportError
from digits.export.graph import converted, loaded
from digits.export.imported_model import understood
from digits.model.tensorflow import keras, tf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from digits.export.imported_model import ImportedModel, Run
    from digits.export.settings import ImportSettings

    Call = Callable[[Any], dict[str, Any]]

SIGNATURE = "serving_default"


def read_keras(path: Path, settings: ImportSettings) -> ImportedModel:
    """Reads a Keras model and finds its input and its output.

    Args:
        path: A .keras or .h5 file, or a SavedModel's folder.
        settings: What it takes and gives. What its output is can be left open: the last operator says it.

    Raises:
        ExportError: it is not a Keras model, needs code that is not in it, or its signature is not one that digits can
            serve.
    """
    spec, call = _saved_model(path) if path.is_dir() else _keras_model(path)
    function = tf.function(call, input_signature=[tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, name="image")])

    def opened(output: str) -> Run:
        def run(inputs: NDArray[Any]) -> NDArray[np.float32]:
            return function(tf.constant(inputs))[output].numpy()  # type: ignore[no-any-return] # untyped

        return run

    try:
        model = converted(function)
    except (ExportError, TypeError, ValueError, tf.errors.OpError) as error:  # such as a layer with a fixed batch
        raise ExportError(f"{path}: cannot be exported ({_first_sentence(error)})") from error
    return understood(path, model, settings, settings.output, opened)


def _keras_model(path: Path) -> tuple[Any, Call]:
    """The input's specification, and what gives the outputs, by name, as floats."""
    model = loaded(path)
    inputs = model.inputs if model.built else []
    if len(inputs) != 1:
        shapes = ", ".join(str(one.shape) for one in inputs) or "not known, since it was saved before it was built"
        raise ExportError(f"{path}: its input is {shapes}; expected one of 28 x 28 pixels")
    names = getattr(model, "output_names", None) or ["output"]

    def call(image: Any) -> dict[str, Any]:
        outputs = keras.tree.flatten(model(image, training=False))
        return {name: tf.cast(output, tf.float32) for name, output in zip(names, outputs, strict=True)}

    return inputs[0], call


def _saved_model(path: Path) -> tuple[Any, Call]:
    """The same of a SavedModel: its signature for serving, or the only one that it has."""
    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's own and the system's
        raise ExportError(f"{path}: cannot be read as a SavedModel ({_first_sentence(error)})") from error
    signatures = model.signatures
    name = SIGNATURE if SIGNATURE in signatures else next(iter(signatures), None)
    if name is None or (len(signatures) > 1 and name != SIGNATURE):
        there = ", ".join(signatures) or "none"
        raise ExportError(
            f"{path}: its signatures are {there}; expected {SIGNATURE}, as model.export(FOLDER) writes it"
        )
    signature = signatures[name]
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ExportError(f"{path}: its inputs are {', '.join(inputs) or 'none'}; expected one of 28 x 28 pixels")
    ((given, spec),) = inputs.items()

    def call(image: Any) -> dict[str, Any]:
        _ = model  # whose variables live as long as it does
        return {name: tf.cast(output, tf.float32) for name, output in signature(**{given: image}).items()}

    return spec, call


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0]
