"""Keras models as ONNX graphs: a run's, and imported .keras and .h5 files and SavedModel folders."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from digits.export.errors import ExportError
from digits.export.imported_model import ImportedModel, RunModel, import_graph
from digits.export.settings import ImportSettings
from digits.images.digit import CLASSES, PIXELS, flatten
from digits.model.golden import Pixels, Probabilities
from digits.model.tensorflow import keras, tf

Call = Callable[[Any], dict[str, Any]]

OPSET = 18
NEEDS_CODE = ("Lambda", "Could not locate", "Unknown layer")  # in Keras's error for a file whose layers need code
AROUND_ONE = {"Erfc": "Erf", "Expm1": "Exp"}
SIGNATURE = "serving_default"
COUNTER = re.compile(r"__\d+")  # in the names that tf2onnx makes


def load_keras(path: Path) -> Any:
    """A run's model. Raises ExportError if the file cannot be read as a Keras model of flattened digits."""
    model = _loaded(path)
    if (model.input_shape, model.output_shape) != ((None, PIXELS), (None, CLASSES)):
        raise ExportError(
            f"{path}: takes {model.input_shape} and gives {model.output_shape}; "
            f"expected {(None, PIXELS)} and {(None, CLASSES)}"
        )
    return model


def predict(model: Any, pixels: Pixels) -> Probabilities:
    """The answers of a run's model, by Keras, to images uint8 [n, 28, 28]: probabilities float32 [n, 10]."""
    return model.predict(flatten(pixels), batch_size=1024, verbose=0)  # type: ignore[no-any-return] # untyped


def to_onnx(model: Any) -> onnx.ModelProto:
    """Converts a run's model: rows float32 [batch, 784] to probabilities float32 [batch, 10], in opset 18.

    Goes through a tf.function, since tf2onnx's `from_keras` fails on Keras 3 (tensorflow-onnx#2448). Raises ExportError
    if the model has an operator that ONNX does not know.
    """

    def classify(rows: Any) -> dict[str, Any]:
        return {"probabilities": model(rows, training=False)}

    return _converted(tf.function(classify, input_signature=[tf.TensorSpec((None, PIXELS), tf.float32, name="rows")]))


def read_keras(path: Path, settings: ImportSettings) -> ImportedModel:
    """Reads a .keras or .h5 file or a SavedModel folder, and finds its input and its output.

    Raises:
        ExportError: it is not a Keras model, needs code that is not in it, or digits cannot serve its signature.
    """
    spec, call = _saved_model(path) if path.is_dir() else _keras_file(path)
    function = tf.function(call, input_signature=[tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, name="image")])

    def opened(output: str) -> RunModel:
        return lambda inputs: function(tf.constant(inputs))[output].numpy()

    try:
        model = _converted(function)
    except (ExportError, TypeError, ValueError, tf.errors.OpError) as error:  # such as a layer with a fixed batch
        raise ExportError(f"{path}: cannot be exported ({_first_sentence(error)})") from error
    return import_graph(path, model, settings, settings.output, opened)


def _loaded(path: Path) -> Any:
    """Loads a Keras model for inference. Keras's safe mode stays on: no code in the file is run."""
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises the errors of its layers, such as TypeError for an unknown class
        _, _, inner = str(error).rpartition("Exception encountered: ")
        reason, hint = _first_sentence(inner), ""
        if any(sign in reason for sign in NEEDS_CODE):
            hint = "; give the folder that model.export(FOLDER) writes, which holds the code as a graph"
        raise ExportError(f"{path}: cannot be read as a Keras model ({reason}){hint}") from error


def _keras_file(path: Path) -> tuple[Any, Call]:
    """The specification of the input, and a function that gives the outputs by name, as floats."""
    model = _loaded(path)
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
    """The same for a SavedModel: its signature for serving, or its only one."""
    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's errors and the system's have no other common base
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
        _ = model  # keeps its variables alive
        return {name: tf.cast(output, tf.float32) for name, output in signature(**{given: image}).items()}

    return spec, call


def _first_sentence(error: object) -> str:
    return " ".join(str(error).split()).partition(". ")[0]


def _converted(function: Any) -> onnx.ModelProto:
    """Converts a tf.function of a dict of outputs by name, to the same bytes in every process."""
    import tf2onnx  # imports TensorFlow itself, which is imported quietly above

    try:
        graph, _ = tf2onnx.convert.from_function(
            function,
            function.input_signature,
            opset=OPSET,
            custom_op_handlers=dict.fromkeys(AROUND_ONE, (_around_one, [])),
        )
    except ValueError as error:
        raise ExportError(f"the model cannot be exported: tf2onnx says {str(error).strip()}") from error
    unknown = {node.op_type for node in graph.graph.node if not onnx.defs.has(node.op_type, OPSET)}
    if unknown:
        raise ExportError(f"the model cannot be exported: ONNX has no {', '.join(sorted(unknown))}")
    del graph.graph.value_info[:]  # inferred shapes, which have another name for the batch dimension
    _name_by_structure(graph.graph)
    return graph  # type: ignore[no-any-return] # tf2onnx is untyped


def _name_by_structure(graph: onnx.GraphProto) -> None:
    """Sorts nodes depth first from the outputs, and names tensors by first use, so that the bytes depend on the model.

    tf2onnx puts a counter in the names that it makes up, and keeps any one of several equal nodes or constants; both
    vary from process to process. A graph without such names and shared tensors, such as a run's, is not changed.
    """
    uses = Counter(name for node in graph.node for name in (node.name, *node.input))
    if max(uses.values(), default=0) <= 1 and not any(COUNTER.search(name) for name in uses):
        return
    names = {"": ""} | {value.name: value.name for value in (*graph.input, *graph.output)}
    nodes = _depth_first(graph)
    for position, node in enumerate(nodes):
        node.name = f"{node.op_type}_{position}"
        for way, tensors in (("input", node.input), ("output", node.output)):
            for i, tensor in enumerate(tensors):
                names.setdefault(tensor, f"{node.name}/{way}_{i}")
            tensors[:] = [names[tensor] for tensor in tensors]
    constants = {constant.name: constant for constant in graph.initializer}
    used = [constants[name] for name in names if name in constants]
    for constant in used:
        constant.name = names[constant.name]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(used)


def _depth_first(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, each after those that it takes its inputs from, in their order."""
    makers = {name: position for position, node in enumerate(graph.node) for name in node.output}
    order: dict[int, onnx.NodeProto] = {}
    pending = [makers[output.name] for output in reversed(graph.output) if output.name in makers]
    while pending:
        node = graph.node[pending[-1]]
        needed = (makers[name] for name in node.input if name in makers)
        if (before := next((position for position in needed if position not in order), None)) is None:
            order.setdefault(pending.pop(), node)
        else:
            pending.append(before)
    return list(order.values())


def _around_one(graph: Any, node: Any, name: str, _arguments: list[Any]) -> None:
    """Erfc as 1 - Erf, part of Keras's gelu, and Expm1 as Exp - 1, part of its celu: ONNX and tf2onnx have neither."""
    operator, dtypes = AROUND_ONE[node.type], node.output_dtypes
    terms = [
        graph.make_const(f"{name}/one", np.array(1, np.float32)).output[0],
        graph.make_node(operator, list(node.input), dtypes=dtypes).output[0],
    ]
    graph.remove_node(node.name)
    graph.make_node("Sub", terms if operator == "Erf" else terms[::-1], name=name, outputs=node.output, dtypes=dtypes)
