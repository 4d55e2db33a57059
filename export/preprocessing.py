"""The preprocessing subgraph: takes uint8 pixels and gives a float model the numbers that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from digits.images.digit import CLASSES, PIXELS, SIDE, WHITE
from digits.model.engine import INPUT, OUTPUT

PREPROCESSING = "front/"
CORE = "core/"
SCALED = PREPROCESSING + "scaled"  # the tensor between preprocessing and core


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to a pixel of 0 to 255 before it reaches the model: (pixel / divisor - mean) / std.

    Attributes:
        divisor: 255 for a model that takes 0 to 1, 1 for one that takes 0 to 255.
        mean: Subtracted after the division.
        std: Divided by in the end.
        shape: What the model takes, such as (-1, 784).
    """

    divisor: float = float(WHITE)
    mean: float = 0.0
    std: float = 1.0
    shape: tuple[int, ...] = (-1, PIXELS)

    @property
    def scale(self) -> float:
        """The preprocessing is pixel * scale + offset; the pixels are a quantized tensor of this scale."""
        return 1 / (self.divisor * self.std)

    @property
    def offset(self) -> float:
        return -self.mean / self.std

    def nodes(self) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """The nodes from `pixels` to `SCALED`, and their constants. What does nothing is left out."""
        nodes = [helper.make_node("Cast", [INPUT], [PREPROCESSING + "cast"], to=TensorProto.FLOAT)]
        constants = [numpy_helper.from_array(np.array(self.shape, np.int64), PREPROCESSING + "shape")]
        for name, operator, value, idle in (
            ("divisor", "Div", self.divisor, 1.0),
            ("mean", "Sub", self.mean, 0.0),
            ("std", "Div", self.std, 1.0),
        ):
            if value != idle:
                before = nodes[-1].output[0]
                nodes.append(
                    helper.make_node(operator, [before, PREPROCESSING + name], [f"{PREPROCESSING}{operator}-{name}"])
                )
                constants.append(numpy_helper.from_array(np.array(value, np.float32), PREPROCESSING + name))
        nodes.append(helper.make_node("Reshape", [nodes[-1].output[0], PREPROCESSING + "shape"], [SCALED]))
        return nodes, constants


def attach(core: onnx.ModelProto, preprocessing: Preprocessing, tail: str | None = None) -> onnx.ModelProto:
    """The core with the preprocessing before it, in digits' signature: uint8 [batch, 28, 28] to float32 [batch, 10].

    Args:
        core: A model with one float input of the preprocessing's shape and one output [batch, 10]; or one that takes
            the pixels as they are, and gets no preprocessing.
        preprocessing: What comes before it.
        tail: The operator that makes its output probabilities: `Softmax`, `Exp`, or None if they are it already.

    Returns:
        A graph that has passed `onnx.checker`'s full check.
    """
    core = onnx.compose.add_prefix(core, CORE)
    (given,), (answer,) = core.graph.input, core.graph.output
    bare = given.type.tensor_type.elem_type == TensorProto.UINT8
    nodes, constants = ([], []) if bare else preprocessing.nodes()
    ends = {given.name: INPUT if bare else SCALED} | ({answer.name: OUTPUT} if tail is None else {})
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
    whole = helper.make_model(graph, opset_imports=core.opset_import, ir_version=core.ir_version)
    whole.functions.extend(core.functions)
    prune(whole)
    onnx.checker.check_model(whole, full_check=True)
    return whole


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


def label(model: onnx.ModelProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """The model with what it is in its `metadata_props`."""
    onnx.helper.set_model_props(model, metadata)
    return model
