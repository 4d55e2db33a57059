"""The novelty of an image: how unlike a digit it is, computed in the graph, and the threshold for "not a digit"."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from digits.export.errors import ExportError
from digits.model.engine import NOVELTY, OUTPUT
from digits.model.manifest import NoveltyThreshold

PREFIX = "novelty/"  # of the names of the nodes' tensors
AXES_AS_INPUT = 18  # the opset from which ReduceMax takes its axes as an input
REJECTED = 0.005  # share of the validation digits above the threshold


def add_novelty(model: onnx.ModelProto) -> bool:
    """Adds the output `novelty`, float32 [batch]: the largest logit, negated.

    The maximum and the sign of floats are exact, so that the novelty of an image does not depend on its batch. A sum of
    exponentials, the energy, would not be.

    Returns:
        Whether the model has logits: its probabilities come from Softmax. Another model is not changed.
    """
    softmax = next(node for node in model.graph.node if OUTPUT in node.output)
    if softmax.op_type != "Softmax":
        return False
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    largest, axes = PREFIX + "largest", PREFIX + "axes"
    if opset >= AXES_AS_INPUT:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), axes))
        maximum = helper.make_node("ReduceMax", [softmax.input[0], axes], [largest], keepdims=0)
    else:
        maximum = helper.make_node("ReduceMax", [softmax.input[0]], [largest], axes=[1], keepdims=0)
    model.graph.node.extend([maximum, helper.make_node("Neg", [largest], [NOVELTY])])
    model.graph.output.append(helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, ["batch"]))
    return True


def fitted_threshold(novelty: NDArray[np.float32]) -> NoveltyThreshold:
    """The threshold above which REJECTED of the validation digits lie, whose novelty float32 [n] is given.

    Raises:
        ExportError: one of them is not finite.
    """
    if not np.isfinite(novelty).all():
        raise ExportError("not published: the novelty of a validation digit is not a finite number")
    threshold = np.quantile(novelty, 1 - REJECTED, method="higher")
    return NoveltyThreshold(float(threshold), float((novelty > threshold).mean()), len(novelty))
