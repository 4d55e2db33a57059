"""The dense layers of a graph: the matrix products that int8 makes faster."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from digits.export.errors import UnsupportedError
from digits.export.preprocessing import SCALED

Constants = Mapping[str, NDArray[np.float32]]
Consumers = Mapping[str, list[int]]

MATRIX = 2  # dimensions


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """rows [n, k] times weights, plus a bias, with ReLU or no activation."""

    weights: NDArray[np.float32]  # [k, m]
    bias: NDArray[np.float32]  # [m]
    input: str  # the tensor of the rows
    output: str  # the tensor of the result: after ReLU, if ReLU follows directly and is the only consumer
    relu: bool  # whether the layer ends with ReLU
    sole: bool  # whether the output has a single consumer
    nodes: tuple[int, ...]  # the positions in the graph of the nodes that compute it


def dense_layers(model: onnx.ModelProto) -> list[DenseLayer]:
    """The graph's dense layers with constant weights, in order. The first one takes the pixels.

    Raises:
        UnsupportedError: there are none, or the first one does not take the preprocessed pixels.
    """
    constants, ranks = _constants(model), _ranks(model)
    consumers: dict[str, list[int]] = {output.name: [-1] for output in model.graph.output}
    for position, node in enumerate(model.graph.node):
        for name in node.input:
            consumers.setdefault(name, []).append(position)
    found = []
    for position, node in enumerate(model.graph.node):
        of_rows = node.op_type == "Gemm" or (node.op_type == "MatMul" and ranks.get(node.input[0]) == MATRIX)
        if of_rows and (layer := _dense_layer(model, position, constants, consumers)):
            found.append(layer)
    if not found:
        raise UnsupportedError("it has no dense layer with constant weights")
    if (source := _source(model, found[0].input)) != SCALED:
        raise UnsupportedError(f"its first dense layer is fed by {source}, not by a preprocessing subgraph of ours")
    return found


def _dense_layer(model: onnx.ModelProto, start: int, constants: Constants, consumers: Consumers) -> DenseLayer | None:
    nodes = model.graph.node
    node = nodes[start]
    weights = constants.get(node.input[1])
    added = node.input[2] if len(node.input) > 2 else ""  # noqa: PLR2004 the third is the bias
    options = {option.name: helper.get_attribute_value(option) for option in node.attribute}
    if weights is None or weights.ndim != MATRIX or options.get("transA") or (added and added not in constants):
        return None
    if node.op_type == "Gemm":
        weights = (weights.T if options.get("transB") else weights) * np.float32(options.get("alpha", 1))
    bias = np.zeros(weights.shape[1], np.float32)
    if added:
        bias = bias + constants[added].reshape(-1) * np.float32(options.get("beta", 1))
    positions = [start]
    for operator in ("Add", "Relu"):
        output = nodes[positions[-1]].output[0]
        following = _sole(consumers, output)
        if following is None or nodes[following].op_type != operator:
            continue
        if operator == "Add":
            (other,) = [name for name in nodes[following].input if name != output] or [""]
            if (term := constants.get(other)) is None or term.size != len(bias):
                continue
            bias = bias + term.reshape(-1)
        positions.append(following)
    last = nodes[positions[-1]]
    relu, sole = last.op_type == "Relu", _sole(consumers, last.output[0]) is not None
    return DenseLayer(weights, bias, node.input[0], last.output[0], relu, sole, tuple(positions))


def _sole(consumers: Consumers, tensor: str) -> int | None:
    """The position of the only node that takes a tensor; None if there are several, or it is an output."""
    positions = consumers.get(tensor, [])
    return positions[0] if len(positions) == 1 and positions[0] >= 0 else None


def _source(model: onnx.ModelProto, tensor: str) -> str:
    """What makes a tensor, apart from operators that only reshape: the preprocessing, or an operator's type."""
    makers = {name: node for node in model.graph.node for name in node.output}
    while tensor != SCALED and (node := makers.get(tensor)) is not None:
        to_float = any(option.name == "to" and option.i == TensorProto.FLOAT for option in node.attribute)
        if node.op_type not in {"Flatten", "Identity", "Reshape"} and not (node.op_type == "Cast" and to_float):
            return str(node.op_type)
        tensor = node.input[0]
    return tensor


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The number of dimensions of each tensor for which it is known."""
    inferred = shape_inference.infer_shapes(model).graph
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info)
        if value.type.tensor_type.HasField("shape")
    }


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants
