"""Models from elsewhere, such as PyTorch's or scikit-learn's ONNX files: read, and brought into digits' signature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto

from digits.export.errors import ExportError
from digits.export.preprocessing import Preprocessing, attach, prune
from digits.images.digit import CLASSES, PIXELS, SIDE, WHITE
from digits.model.errors import ModelError
from digits.model.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.export.settings import ImportSettings

    Run = Callable[[NDArray[Any]], NDArray[np.float32]]

SHAPES = ((PIXELS,), (1, SIDE, SIDE), (SIDE, SIDE, 1), (SIDE, SIDE))
OLDEST_OPSET = 13
SUM_TOLERANCE = 1e-3  # of the probabilities of an image, from 1
TAILS = {"probabilities": None, "logits": "Softmax", "log-probabilities": "Exp"}
LAST = {"Softmax": "probabilities", "LogSoftmax": "log-probabilities"} | dict.fromkeys(
    ("Add", "Gemm", "MatMul"), "logits"
)
TOGETHER = 500  # images that are asked at a time


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model from elsewhere.

    Attributes:
        path: Its file, or a SavedModel's folder.
        core: It, with one float input and one output [batch, 10].
        preprocessing: What makes its input of pixels.
        output: What its output is: a key of TAILS.
        opened: Gives what runs the model itself, by the name of the output: inputs [n, ...] to answers [n, 10].
    """

    path: Path
    core: onnx.ModelProto
    preprocessing: Preprocessing
    output: str
    opened: Callable[[str], Run]

    def to_onnx(self) -> onnx.ModelProto:
        """It in digits' signature. Raises ExportError if `onnx.checker` finds fault with it."""
        try:
            return attach(self.core, self.preprocessing, TAILS[self.output])
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"{self.path}: {str(error).strip().splitlines()[0]}") from error

    @property
    def described(self) -> str:
        """What it takes and gives, for people, in a line."""
        given = _described(self.core.graph.input[0]).replace("batch", "N")
        pixels = "" if given.startswith("uint8") else f" of 0 to {WHITE // int(self.preprocessing.divisor)}"
        tail = TAILS[self.output]
        ending = f", which {last_operator(self.core)} ends" + (f"; {tail} is put behind it" if tail else "")
        return f"takes {given}{pixels} and gives {self.output}{ending}"

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The model's own answer to images uint8 [n, 28, 28], without our preprocessing: probabilities float32 [n, 10].

        Raises:
            ExportError: it cannot be run on batches of any size.
        """
        run = self.opened(self.core.graph.output[0].name)
        inputs: NDArray[Any] = pixels
        if self.core.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT:
            scaled = (
                pixels / np.float32(self.preprocessing.divisor) - np.float32(self.preprocessing.mean)
            ) / np.float32(self.preprocessing.std)
            inputs = scaled.astype(np.float32).reshape(self.preprocessing.shape)
        parts = [inputs[start : start + TOGETHER] for start in range(0, len(inputs), TOGETHER)]
        try:
            answers = np.concatenate([run(part) for part in [inputs[:1], *parts]])[1:]
        except Exception as error:  # the exceptions of ONNX Runtime and of TensorFlow share no base but this
            raise ExportError(
                f"{self.path}: cannot be run on batches of any size ({str(error).strip().splitlines()[0]}); "
                "export it with a batch dimension that is dynamic"
            ) from error
        probabilities = _probabilities(answers, self.output)
        if (fault := _fault(answers, probabilities, self.output)) is not None:
            raise ExportError(f"{self.path}: {fault}")
        return probabilities


def read_onnx(path: Path, settings: ImportSettings) -> ImportedModel:
    """Reads an ONNX file and finds its input and its output.

    Raises:
        ExportError: it is no ONNX model, or its signature is none that digits can serve.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's own, and the system's
        raise ExportError(f"{path}: cannot be read as an ONNX model ({str(error).strip().splitlines()[0]})") from error
    opset = max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=0)
    if opset < OLDEST_OPSET:
        raise ExportError(f"{path}: opset {opset}; convert it to {OLDEST_OPSET} or later by onnx.version_converter")
    if model.graph.sparse_initializer or any(
        option.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
        for node in model.graph.node
        for option in node.attribute
    ):
        raise ExportError(f"{path}: graphs within the graph (If, Loop) and sparse constants are not supported")
    return understood(path, model, settings, settings.output or "probabilities", partial(_session, path, model))


def understood(
    path: Path, model: onnx.ModelProto, settings: ImportSettings, output: str | None, opened: Callable[[str], Run]
) -> ImportedModel:
    """Finds a model's input and its output, and leaves in the graph what is between them.

    Args:
        path: Where it comes from.
        model: It as an ONNX graph.
        settings: What it takes and gives.
        output: What its output is, a key of TAILS; None to go by the graph's last operator.
        opened: Gives what runs the model itself.

    Raises:
        ExportError: its signature is not one that digits can serve.
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
    divisor = float(WHITE) if settings.input_scale == 1 else 1.0
    preprocessing = Preprocessing(divisor, settings.mean, settings.std, (-1, *shape))
    return ImportedModel(path, model, preprocessing, output or LAST.get(last_operator(model), "probabilities"), opened)


def last_operator(model: onnx.ModelProto) -> str:
    """The type of the operator that gives the output, before what only renames or reshapes it."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in {"Identity", "Reshape", "Squeeze"}:
        node = makers.get(node.input[0])
    return str(node.op_type) if node is not None else "no operator"


def _session(path: Path, core: onnx.ModelProto, output: str) -> Run:
    """ONNX Runtime on the file itself, or on the core where the output is what a ZipMap hides in the file."""
    try:
        session = open_session(path, "cpu", 1)
        if output not in {node.name for node in session.get_outputs()}:
            session = open_session(core.SerializeToString(), "cpu", 1)
    except ModelError as error:
        raise ExportError(str(error)) from error
    name = core.graph.input[0].name
    return lambda inputs: session.run([output], {name: inputs})[0]


def _input(path: Path, model: onnx.ModelProto) -> tuple[Any, tuple[int, ...]]:
    """The one input that is no constant, and the shape of an image in it."""
    constants = {constant.name for constant in model.graph.initializer}
    inputs = [node for node in model.graph.input if node.name not in constants]
    described = ", ".join(f"{node.name} {_described(node)}" for node in inputs)
    if len(inputs) == 1:
        (given,) = inputs
        shape = tuple(dimension.dim_value for dimension in given.type.tensor_type.shape.dim[1:])
        if _type(given) == TensorProto.FLOAT and shape in SHAPES:
            return given, shape
        if _type(given) == TensorProto.UINT8 and shape == (SIDE, SIDE):
            return given, shape
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
        if maker is not None and maker.op_type == "ZipMap":  # scikit-learn's: a list of dicts of what goes into it
            candidates[node.name] = maker.input[0]
        elif _type(node) == TensorProto.FLOAT and _columns(node) in {0, CLASSES}:
            candidates[node.name] = node.name
    if wanted is not None:
        candidates = {name: tensor for name, tensor in candidates.items() if name == wanted}
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    every = ", ".join(f"{node.name} {_described(node)}" for node in model.graph.output)
    raise ExportError(f"{path}: its outputs are {every}; say --output-name with the one that is float32 [N,10]")


def _probabilities(answers: NDArray[np.float32], output: str) -> NDArray[np.float32]:
    if output == "probabilities":
        return answers
    logits = answers.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True)) if output == "logits" else np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True) if output == "logits" else powers).astype(np.float32)


def _fault(answers: NDArray[np.float32], probabilities: NDArray[np.float32], output: str) -> str | None:
    """Why the answers are not what they are said to be; None if they may be."""
    sums = probabilities.sum(axis=1)
    wrong = ~(np.isfinite(sums) & (probabilities >= 0).all(axis=1) & (np.abs(sums - 1) < SUM_TOLERANCE))
    if wrong.any():
        image = int(wrong.argmax())
        return (
            f"its output is no {output}: those of test image {image} come to {sums[image]:.4g} in all; "
            f"say --output {' or '.join(sorted(TAILS.keys() - {output}))}"
        )
    if output == "logits" and (answers >= 0).all() and (np.abs(answers.sum(axis=1) - 1) < SUM_TOLERANCE).all():
        return "its output is probabilities already, and no logits; say --output probabilities"
    return None


def _type(node: Any) -> int:
    return int(node.type.tensor_type.elem_type)


def _columns(node: Any) -> int:
    """The size of the last dimension, 0 if it is not known."""
    dimensions = node.type.tensor_type.shape.dim
    return int(dimensions[-1].dim_value) if len(dimensions) else 0


def _described(node: Any) -> str:
    if not node.type.HasField("tensor_type"):
        return str(node.type.WhichOneof("value"))
    names = [dimension.dim_param or str(dimension.dim_value or "?") for dimension in node.type.tensor_type.shape.dim]
    return f"{TensorProto.DataType.Name(_type(node)).lower()} [{','.join(names)}]"
