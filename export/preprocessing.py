"""The preprocessing subgraph: turns uint8 pixels into the numbers that a float model was trained on."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from digits.export.checker import checker_fault
from digits.export.errors import UnsupportedError
from digits.images.digit import CLASSES, PIXELS, SIDE, WHITE
from digits.model.engine import INPUT, OUTPUT

PREFIX = "front/"  # of the subgraph's names
CORE = "core/"  # of the model's own names
SCALED = PREFIX + "scaled"  # the tensor between preprocessing and core


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Turns a pixel of 0 to 255 into (pixel / divisor - mean) / std."""

    divisor: float = float(WHITE)  # for a model that takes 0 to 1; 1 for one that takes 0 to 255
    mean: float = 0.0
    std: float = 1.0
    shape: tuple[int, ...] = (-1, PIXELS)  # of the model's input

    @property
    def scale(self) -> float:
        """The result is pixel * scale + offset; the pixels are a quantized tensor of this scale."""
        return 1 / (self.divisor * self.std)

    @property
    def offset(self) -> float:
        return -self.mean / self.std

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The model's input, float32 of its shape, for images uint8 [n, 28, 28]."""
        divisor, mean, std = map(np.float32, (self.divisor, self.mean, self.std))
        return ((pixels / divisor - mean) / std).astype(np.float32).reshape(self.shape)

    def nodes(self) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes from `pixels` to `SCALED`, and their constants. Operations without effect are left out."""
        nodes = [helper.make_node("Cast", [INPUT], [PREFIX + "cast"], to=TensorProto.FLOAT)]
        constants = [numpy_helper.from_array(np.array(self.shape, np.int64), PREFIX + "shape")]
        for name, operator, value, neutral in (
            ("divisor", "Div", self.divisor, 1.0),
            ("mean", "Sub", self.mean, 0.0),
            ("std", "Div", self.std, 1.0),
        ):
            if value != neutral:
                before = nodes[-1].output[0]
                nodes.append(helper.make_node(operator, [before, PREFIX + name], [f"{PREFIX}{operator}-{name}"]))
                constants.append(numpy_helper.from_array(np.array(value, np.float32), PREFIX + name))
        nodes.append(helper.make_node("Reshape", [nodes[-1].output[0], PREFIX + "shape"], [SCALED]))
        return nodes, constants


def attach(core: onnx.ModelProto, preprocessing: Preprocessing, tail: str | None = None) -> onnx.ModelProto:
    """The core after its preprocessing, with digits' signature: uint8 [batch, 28, 28] to float32 [batch, 10].

    Args:
        core: A model with one float input of the preprocessing's shape and one output [batch, 10]. One with a uint8
            input takes the pixels unchanged, and gets no preprocessing.
        preprocessing: What comes before it.
        tail: The operator that turns its output into probabilities: `Softmax`, `Exp`, or None if it gives them.

    Raises:
        UnsupportedError: the graph does not pass `onnx.checker`'s full check.
    """
    core = onnx.compose.add_prefix(core, CORE)
    (given,), (answer,) = core.graph.input, core.graph.output
    takes_pixels = given.type.tensor_type.elem_type == TensorProto.UINT8
    nodes, constants = ([], []) if takes_pixels else preprocessing.nodes()
    ends = {given.name: INPUT if takes_pixels else SCALED} | ({answer.name: OUTPUT} if tail is None else {})
    for node in core.graph.node:
        node.input[:] = [ends.get(name, name) for name in node.input]
        node.output[:] = [ends.get(name, name) for name in node.output]
    nodes.extend(core.graph.node)
    if tail is not None:
        nodes.append(helper.make_node(tail, [answer.name], [OUTPUT]))  # softmax is over the last dimension
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", CLASSES])],
        [*constants, *core.graph.initializer],
    )
    model = helper.make_model(graph, opset_imports=core.opset_import, ir_version=core.ir_version)
    model.functions.extend(core.functions)
    prune(model)
    if (fault := checker_fault(model)) is not None:
        raise UnsupportedError(fault)
    return model


def prune(model: onnx.ModelProto) -> None:
    """Removes the nodes and constants that no output depends on."""
    needed = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    constants = [constant for constant in model.graph.initializer if constant.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(constants)
