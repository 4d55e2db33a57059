"""The fp16 variant, for CUDA: the same graph in half precision between preprocessing (division by 255) and softmax."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from digits.export.checker import checker_fault
from digits.export.errors import UnsupportedError
from digits.export.preprocessing import PREFIX, SCALED
from digits.model.engine import OUTPUT

HALF_PIXELS = "fp16/scaled"


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converts an fp32 model of digits' signature. Preprocessing and softmax stay in fp32.

    Raises:
        UnsupportedError: a weight is too large for half precision, an operator does not support it, or the model has no
            preprocessing.
    """
    if not any(SCALED in node.output for node in model.graph.node):
        raise UnsupportedError(
            "it takes the pixels as they are, without a preprocessing subgraph behind which half precision could begin"
        )
    half = onnx.ModelProto()
    half.CopyFrom(model)
    for constant in half.graph.initializer:
        if not constant.name.startswith(PREFIX):
            constant.CopyFrom(_halved(constant))
    nodes = []
    for node in half.graph.node:
        nodes.append(node)
        if not node.output[0].startswith(PREFIX):
            _halve(node)
        if SCALED in node.output:
            nodes.append(helper.make_node("Cast", [SCALED], [HALF_PIXELS], to=TensorProto.FLOAT16))
    nodes[-1:] = _ending(nodes[-1])
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    if (fault := checker_fault(half)) is not None:
        raise UnsupportedError(f"an operator of it has no half precision ({fault})")
    return half


def _halve(node: onnx.NodeProto) -> None:
    node.input[:] = [HALF_PIXELS if name == SCALED else name for name in node.input]
    for option in node.attribute:
        if node.op_type == "Cast" and option.name == "to" and option.i == TensorProto.FLOAT:
            option.i = TensorProto.FLOAT16
        if node.op_type in {"Constant", "ConstantOfShape"} and option.name == "value":
            option.t.CopyFrom(_halved(option.t))


def _ending(last: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node that gives the probabilities, in fp32: softmax itself, or a cast after another operator."""
    if last.op_type in {"Exp", "Softmax"}:
        logits = "fp16/logits"
        cast = helper.make_node("Cast", [last.input[0]], [logits], to=TensorProto.FLOAT)
        last.input[0] = logits
        return [cast, last]
    probabilities = "fp16/probabilities"
    last.output[:] = [probabilities if name == OUTPUT else name for name in last.output]
    return [last, helper.make_node("Cast", [probabilities], [OUTPUT], to=TensorProto.FLOAT)]


def _halved(constant: onnx.TensorProto) -> onnx.TensorProto:
    if constant.data_type != TensorProto.FLOAT:
        return constant
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(constant).astype(np.float16)
    if not np.isfinite(values).all():
        raise UnsupportedError(f"{constant.name} has values beyond 65,504, the limit of half precision")
    return numpy_helper.from_array(values, constant.name)
