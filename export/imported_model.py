"""Imported models, such as ONNX files of PyTorch or scikit-learn, given digits' signature."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from scipy.special import softmax

from digits.export.errors import ExportError, UnsupportedError
from digits.export.preprocessing import Preprocessing, attach, prune
from digits.export.settings import ImportSettings
from digits.images.digit import CLASSES, PIXELS, SIDE, WHITE
from digits.model.errors import ModelError
from digits.model.golden import Pixels, Probabilities
from digits.model.runtime import open_session
from digits.storage.text import first_line

RunModel = Callable[[NDArray[Any]], NDArray[np.float32]]

SHAPES = ((PIXELS,), (1, SIDE, SIDE), (SIDE, SIDE, 1), (SIDE, SIDE))
OLDEST_OPSET = 13
SUM_TOLERANCE = 1e-3  # of the sum of an image's probabilities, which is 1
TAILS: dict[str, tuple[str | None, Callable[..., Any]]] = {  # the operator to append, and the same in NumPy
    "probabilities": (None, np.asarray),
    "logits": ("Softmax", partial(softmax, axis=1)),
    "log-probabilities": ("Exp", np.exp),
}
OUTPUTS = {"Softmax": "probabilities", "LogSoftmax": "log-probabilities"} | dict.fromkeys(
    ("Add", "Gemm", "MatMul"), "logits"
)  # by the last operator
BATCH = 500  # images


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model that was not made by `digits train`.

    `opened` gives a function that runs the model itself, by the output's name: inputs [n, ...] to answers [n, 10].
    """

    path: Path  # of its file, or of the folder of a SavedModel
    core: onnx.ModelProto  # its graph, with one input and one float output [batch, 10]
    preprocessing: Preprocessing  # what makes its input from pixels
    output: str  # what its output is, a key of TAILS
    opened: Callable[[str], RunModel]

    def to_onnx(self) -> onnx.ModelProto:
        """The model with digits' signature. Raises ExportError if it does not pass `onnx.checker`."""
        try:
            return attach(self.core, self.preprocessing, TAILS[self.output][0])
        except UnsupportedError as error:
            raise ExportError(f"{self.path}: {error}") from error

    @property
    def described(self) -> str:
        """What it takes and gives, for people, in one line."""
        given = _described(self.core.graph.input[0]).replace("batch", "N")
        pixels = "" if given.startswith("uint8") else f" of 0 to {WHITE // int(self.preprocessing.divisor)}"
        last, tail = last_operator(self.core), TAILS[self.output][0]
        return f"takes {given}{pixels} and gives {self.output} by {last}{f'; {tail} is appended' if tail else ''}"

    def predict(self, pixels: Pixels) -> Probabilities:
        """The answers of the model itself, without digits' graph: probabilities float32 [n, 10].

        Raises:
            ExportError: it cannot run on batches of any size, or its output is not what the settings say.
        """
        run = self.opened(self.core.graph.output[0].name)
        takes_floats = _type(self.core.graph.input[0]) == TensorProto.FLOAT
        inputs: NDArray[Any] = self.preprocessing(pixels) if takes_floats else pixels
        parts = [inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH)]
        try:
            answers = np.concatenate([run(part) for part in [inputs[:1], *parts]])[1:]
        except Exception as error:  # the exceptions of ONNX Runtime and of TensorFlow have no other common base
            raise ExportError(
                f"{self.path}: cannot be run on batches of any size ({first_line(error)}); "
                "export it with a batch dimension that is dynamic"
            ) from error
        probabilities: Probabilities = TAILS[self.output][1](answers.astype(np.float64)).astype(np.float32)
        if (fault := _fault(answers, probabilities, self.output)) is not None:
            raise ExportError(f"{self.path}: {fault}")
        return probabilities


def read_onnx(path: Path, settings: ImportSettings) -> ImportedModel:
    """Reads an ONNX file and finds its input and its output.

    Raises:
        ExportError: it is not an ONNX model, or digits cannot serve it.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # the errors of protobuf, of the checker and of the system
        raise ExportError(f"{path}: cannot be read as an ONNX model ({first_line(error)})") from error
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < OLDEST_OPSET:
        raise ExportError(f"{path}: opset {opset}; convert it to {OLDEST_OPSET} or later by onnx.version_converter")
    options = (option.type for node in model.graph.node for option in node.attribute)
    if model.graph.sparse_initializer or {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS} & {*options}:
        raise ExportError(f"{path}: graphs within the graph (If, Loop) and sparse constants are not supported")
    return import_graph(path, model, settings, settings.output or "probabilities", partial(_session, path, model))


def import_graph(
    path: Path, model: onnx.ModelProto, settings: ImportSettings, output: str | None, opened: Callable[[str], RunModel]
) -> ImportedModel:
    """Finds a graph's input and output, and removes what is not between them.

    `output` is what its output is, a key of TAILS; None to go by its last operator. For `opened` see ImportedModel.

    Raises:
        ExportError: digits cannot serve its signature.
    """
    given, shape = _input(path, model)
    if _type(given) == TensorProto.UINT8 and (settings.input_scale, settings.mean, settings.std) != (1, 0, 1):
        raise ExportError(
            f"{path}: takes uint8 pixels as they are; --input-scale, --mean and --std are for float inputs"
        )
    answer = _output(path, model, settings.output_name)
    del model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.input.append(onnx.helper.make_tensor_value_info(given.name, _type(given), ["batch", *shape]))
    model.graph.output.append(onnx.helper.make_tensor_value_info(answer, TensorProto.FLOAT, ["batch", CLASSES]))
    prune(model)
    preprocessing = Preprocessing(WHITE / settings.input_scale, settings.mean, settings.std, (-1, *shape))
    output = output or OUTPUTS.get(last_operator(model), "probabilities")
    return ImportedModel(path, model, preprocessing, output, opened)


def last_operator(model: onnx.ModelProto) -> str:
    """The type of the operator that gives the output, apart from operators that only rename or reshape it."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in {"Identity", "Reshape", "Squeeze"}:
        node = makers.get(node.input[0])
    return str(node.op_type) if node is not None else "no operator"


def _session(path: Path, core: onnx.ModelProto, output: str) -> RunModel:
    """Runs the file itself in ONNX Runtime, or the core if the output is hidden by a ZipMap in the file."""
    try:
        session = open_session(path, "cpu", 1)
        if output not in {node.name for node in session.get_outputs()}:
            session = open_session(core.SerializeToString(), "cpu", 1)
    except ModelError as error:
        raise ExportError(str(error)) from error
    name = core.graph.input[0].name
    return lambda inputs: session.run([output], {name: inputs})[0]


def _input(path: Path, model: onnx.ModelProto) -> tuple[Any, tuple[int, ...]]:
    """The only input that is not a constant, and the shape of one image in it."""
    constants = {constant.name for constant in model.graph.initializer}
    inputs = [node for node in model.graph.input if node.name not in constants]
    if len(inputs) == 1:
        (given,) = inputs
        shape = tuple(dimension.dim_value for dimension in given.type.tensor_type.shape.dim[1:])
        if (_type(given) == TensorProto.FLOAT and shape in SHAPES) or (
            _type(given) == TensorProto.UINT8 and shape == (SIDE, SIDE)
        ):
            return given, shape
    described = ", ".join(f"{node.name} {_described(node)}" for node in inputs)
    raise ExportError(
        f"{path}: its input is {described or 'nothing'}; expected one of uint8 [N,28,28], or float32 [N,784], "
        "[N,1,28,28], [N,28,28,1] or [N,28,28]"
    )


def _output(path: Path, model: onnx.ModelProto, wanted: str | None) -> str:
    """The name of the output of ten floats an image."""
    makers = {name: node for node in model.graph.node for name in node.output}
    candidates = {}
    for node in model.graph.output:
        maker = makers.get(node.name)
        if maker is not None and maker.op_type == "ZipMap":  # scikit-learn's list of dicts, made from this input
            candidates[node.name] = maker.input[0]
        elif _type(node) == TensorProto.FLOAT:
            shape = [dimension.dim_value for dimension in node.type.tensor_type.shape.dim]  # 0 is not known
            if not shape or (len(shape) > 1 and shape[-1] in {0, CLASSES}):
                candidates[node.name] = node.name
    found = [tensor for name, tensor in candidates.items() if wanted in {None, name}]
    if len(found) == 1:
        return found[0]
    every = ", ".join(f"{node.name} {_described(node)}" for node in model.graph.output)
    raise ExportError(f"{path}: its outputs are {every}; say --output-name with the one that is float32 [N,10]")


def _fault(answers: NDArray[np.float32], probabilities: Probabilities, output: str) -> str | None:
    """Why the answers cannot be what the settings say; None if they can."""
    sums = probabilities.sum(axis=1)
    wrong = ~(np.isfinite(sums) & (probabilities >= 0).all(axis=1) & (np.abs(sums - 1) < SUM_TOLERANCE))
    if wrong.any():
        image = int(wrong.argmax())
        return (
            f"its output cannot be {output}: those of test image {image} sum to {sums[image]:.4g}; "
            f"say --output {' or '.join(sorted(TAILS.keys() - {output}))}"
        )
    if output == "logits" and (answers >= 0).all() and (np.abs(answers.sum(axis=1) - 1) < SUM_TOLERANCE).all():
        return "its output is probabilities already, not logits; say --output probabilities"
    return None


def _type(node: Any) -> int:
    return int(node.type.tensor_type.elem_type)


def _described(node: Any) -> str:
    if not node.type.HasField("tensor_type"):
        return str(node.type.WhichOneof("value"))
    names = [dimension.dim_param or str(dimension.dim_value or "?") for dimension in node.type.tensor_type.shape.dim]
    return f"{TensorProto.DataType.Name(_type(node)).lower()} [{','.join(names)}]"
