"""The Keras model as an ONNX graph: rows float32 [batch, 784] to probabilities float32 [batch, 10]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from digits.export.errors import ExportError
from digits.images.digit import CLASSES, PIXELS, flatten
from digits.model.tensorflow import keras, tf

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OPSET = 18
NEEDS_CODE = ("Lambda", "Could not locate", "Unknown layer")  # in what Keras says of a file whose layers are code


def load_keras(path: Path) -> Any:
    """Raises ExportError if the file cannot be read as a Keras model of flattened digits."""
    model = loaded(path)
    if (model.input_shape, model.output_shape) != ((None, PIXELS), (None, CLASSES)):
        raise ExportError(
            f"{path}: takes {model.input_shape} and gives {model.output_shape}; "
            f"expected {(None, PIXELS)} and {(None, CLASSES)}"
        )
    return model


def loaded(path: Path) -> Any:
    """A Keras model of any signature, to be run and not trained.

    Keras's safe mode stays on: no code of the file's is run.

    Raises:
        ExportError: the file cannot be read, or needs code that is not in it.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises what its layers do, such as TypeError for a class that it does not know
        _, _, inner = str(error).rpartition("Exception encountered: ")
        reason = " ".join(inner.partition(". ")[0].split())
        needs_code = any(sign in reason for sign in NEEDS_CODE)
        hint = (
            "; give the folder that model.export(FOLDER) writes, which holds the code as a graph" if needs_code else ""
        )
        raise ExportError(f"{path}: cannot be read as a Keras model ({reason}){hint}") from error


def predict(model: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Keras's own answer to images uint8 [n, 28, 28]: probabilities float32 [n, 10]."""
    return model.predict(flatten(pixels), batch_size=1024, verbose=0)  # type: ignore[no-any-return] # untyped


def to_onnx(model: Any) -> onnx.ModelProto:
    """Converts a Keras model of flattened digits.

    Goes through a tf.function, since tf2onnx's `from_keras` fails on Keras 3 (tensorflow-onnx#2448).

    Args:
        model: Takes float32 [n, 784], gives probabilities float32 [n, 10].

    Returns:
        A graph of opset 18. The same model gives the same bytes.

    Raises:
        ExportError: it has an operator that ONNX does not know.
    """

    @tf.function(  # type: ignore[untyped-decorator] # tensorflow is untyped
        input_signature=[tf.TensorSpec((None, PIXELS), tf.float32, name="rows")]
    )
    def classify(rows: Any) -> dict[str, Any]:
        return {"probabilities": model(rows, training=False)}

    return converted(classify)


def converted(function: Any) -> onnx.ModelProto:
    """Converts a tf.function with an input signature, which gives a dict of outputs by name.

    Raises:
        ExportError: it has an operator that ONNX does not know.
    """
    import tf2onnx  # which imports TensorFlow itself: after the quiet import of it

    try:
        graph, _ = tf2onnx.convert.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, []), "Expm1": (_expm1, [])},
        )
    except ValueError as error:
        raise ExportError(f"the model cannot be exported: tf2onnx says {str(error).strip()}") from error
    unknown = {node.op_type for node in graph.graph.node if not onnx.defs.has(node.op_type, OPSET)}
    if unknown:
        raise ExportError(f"the model cannot be exported: ONNX has no {', '.join(sorted(unknown))}")
    del graph.graph.value_info[:]  # inferred shapes, which name the batch dimension otherwise
    return graph  # type: ignore[no-any-return] # tf2onnx is untyped


def _erfc(graph: Any, node: Any, name: str, _arguments: list[Any]) -> None:
    """Erfc, of which Keras's gelu is made and which neither ONNX nor tf2onnx knows, as 1 - Erf."""
    one, erf, dtypes = _one_and(graph, node, name, "Erf")
    graph.make_node("Sub", [one, erf], name=name, outputs=node.output, dtypes=dtypes)


def _expm1(graph: Any, node: Any, name: str, _arguments: list[Any]) -> None:
    """Expm1, of which Keras's celu is made, as Exp - 1."""
    one, exp, dtypes = _one_and(graph, node, name, "Exp")
    graph.make_node("Sub", [exp, one], name=name, outputs=node.output, dtypes=dtypes)


def _one_and(graph: Any, node: Any, name: str, operator: str) -> tuple[str, str, Any]:
    """The constant 1, another operator of the node's input, and its type; the node itself is removed."""
    dtypes = node.output_dtypes
    one = graph.make_const(f"{name}/one", np.array(1, np.float32)).output[0]
    other = graph.make_node(operator, list(node.input), dtypes=dtypes).output[0]
    graph.remove_node(node.name)
    return one, other, dtypes
