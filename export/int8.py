"""The int8 variant: the same graph with its dense layers in integers, on the unscaled pixels.

Pixels are a quantized tensor (uint8, zero point 0), so the first dense layer loses nothing at its input. Every scale is
static: with a scale taken from the batch, an answer would depend on its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from digits.export.checker import checker_fault
from digits.export.dense_layers import DenseLayer
from digits.export.errors import UnsupportedError
from digits.export.preprocessing import prune
from digits.export.quantization import Array, Plan, QuantizedLayer, or_one
from digits.model.engine import INPUT

ValueRange = Callable[[NDArray[np.float32]], tuple[float, float]]

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operator QGemm
UINT8_MAX = 255
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor uint8 [n, k] that stands for (value - zero) * scale."""

    tensor: str
    scale: float
    zero: int = 0


def to_int8(model: onnx.ModelProto, scale: float, plan: Plan, value_range: ValueRange) -> onnx.ModelProto:
    """Quantizes an fp32 model of digits' signature, whose preprocessing has this scale.

    `value_range` gives the least and the greatest value that a scale has to cover; 0 is between them. The result has
    the same signature.

    Raises:
        UnsupportedError: the result does not pass `onnx.checker`'s full check, or a bias is too large.
    """
    parts = _Parts()
    rows: Rows | None = parts.pixels(plan.dense[0], scale)
    for i, (dense, layer) in enumerate(zip(plan.dense, plan.quantized, strict=False)):
        if rows is None:
            rows = parts.quantize(dense, *value_range(plan.activations[dense.input]))
        if layer.output is not None and i + 1 < len(plan.quantized):
            rows = parts.integers(dense, rows, layer, value_range(layer.output)[1])
            continue
        parts.floats(dense, "QGemm", parts.gemm_inputs(dense, rows, layer), domain=MICROSOFT)
        rows = None
        if layer.output is not None:
            parts.fp32(plan.dense[i + 1], *plan.last)
    return parts.put_in(model)


class _Parts:
    """The nodes and constants that replace dense layers, each layer's at the position of its first node."""

    def __init__(self) -> None:
        self._nodes: dict[int, list[onnx.NodeProto]] = {}
        self._replaced: set[int] = set()
        self._constants: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, Rows] = {}

    def pixels(self, first: DenseLayer, scale: float) -> Rows:
        """The unscaled pixels as the first dense layer's rows."""
        shape = self._constant("int8/shape", np.array([-1, len(first.weights)], np.int64))
        self._add(first, "Reshape", [INPUT, shape], "int8/pixels")
        return Rows("int8/pixels", scale)

    def quantize(self, dense: DenseLayer, least: float, greatest: float) -> Rows:
        """Float rows in uint8, with a zero point for values below 0. A tensor is quantized once."""
        if dense.input not in self._quantized:
            scale = float(or_one(np.asarray(greatest - least))) / UINT8_MAX
            rows = Rows(f"{dense.input}/uint8", scale, round(-least / scale))
            self._quantized[dense.input] = rows
            self._add(dense, "QuantizeLinear", [dense.input, *self._scale_of(rows)], rows.tensor)
        self._replaced.update(dense.nodes)
        return self._quantized[dense.input]

    def integers(self, dense: DenseLayer, rows: Rows, layer: QuantizedLayer, greatest: float) -> Rows:
        """The dense layer and its ReLU with a uint8 result: values below the zero point 0 are cut off."""
        result = Rows(f"{dense.output}/uint8", float(or_one(np.asarray(greatest))) / UINT8_MAX)
        scale = self._scale_of(result)
        inputs = [*self.gemm_inputs(dense, rows, layer), *scale]
        self._add(dense, "QGemm", inputs, result.tensor, domain=MICROSOFT)
        return result

    def floats(self, dense: DenseLayer, operator: str, inputs: list[str], **options: str) -> None:
        """The dense layer with a float result, by an operator, and its ReLU if it has one."""
        sums = f"{dense.output}/sums" if dense.relu else dense.output
        self._add(dense, operator, inputs, sums, **options)
        if dense.relu:
            self._add(dense, "Relu", [sums], dense.output)

    def fp32(self, dense: DenseLayer, weights: Array, bias: Array) -> None:
        """The dense layer in floats, with other weights and another bias."""
        weights_name = self._constant(f"{dense.output}/weights", weights.astype(np.float32))
        bias_name = self._constant(f"{dense.output}/bias", bias.astype(np.float32))
        self.floats(dense, "Gemm", [dense.input, weights_name, bias_name])

    def gemm_inputs(self, dense: DenseLayer, rows: Rows, layer: QuantizedLayer) -> list[str]:
        """QGemm's inputs: rows, weights and an int32 bias. The result is float, or uint8 if its scale follows."""
        bias = np.rint(layer.bias / (rows.scale * layer.scale))
        if not (np.abs(bias) <= INT32_MAX).all():
            raise UnsupportedError(f"the bias of {dense.output} is beyond int32 in units of its scales")
        constants: dict[str, NDArray[Any]] = {
            "weights": layer.weights,
            "scale": layer.scale.astype(np.float32),
            "zero": np.zeros(layer.scale.shape, np.int8),
            "bias": bias.astype(np.int32),
        }
        names = [self._constant(f"{dense.output}/int8/{name}", value) for name, value in constants.items()]
        return [rows.tensor, *self._scale_of(rows), *names]

    def put_in(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model with these parts, checked, without the nodes and constants that are not needed any more."""
        quantized = onnx.ModelProto()
        quantized.CopyFrom(model)
        del quantized.graph.node[:]
        for position, node in enumerate(model.graph.node):
            quantized.graph.node.extend(self._nodes.get(position, [] if position in self._replaced else [node]))
        quantized.graph.initializer.extend(self._constants.values())
        quantized.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        prune(quantized)
        if (fault := checker_fault(quantized)) is not None:
            raise UnsupportedError(f"its int8 form is not a valid graph ({fault})")
        return quantized

    def _scale_of(self, rows: Rows) -> list[str]:
        scale = self._constant(f"{rows.tensor}/scale", np.array(rows.scale, np.float32))
        return [scale, self._constant(f"{rows.tensor}/zero", np.array(rows.zero, np.uint8))]

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def _add(self, dense: DenseLayer, operator: str, inputs: list[str], output: str, **options: str) -> None:
        self._replaced.update(dense.nodes)
        self._nodes.setdefault(dense.nodes[0], []).append(helper.make_node(operator, inputs, [output], **options))
