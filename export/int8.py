"""The int8 variant: the same graph with its dense layers in integers, on the pixels as they come.

Pixels are a quantized tensor already (uint8, zero point 0), so the first dense layer loses nothing at its input. Every
scale is static: one taken from the batch would let an answer depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from digits.export.errors import UnsupportedError
from digits.export.preprocessing import prune
from digits.export.quantization import or_one
from digits.model.engine import INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from digits.export.dense_layers import DenseLayer
    from digits.export.preprocessing import Preprocessing
    from digits.export.quantization import Layer, Plan

    Array = NDArray[np.float64]
    Activations = Mapping[str, NDArray[np.float32]]
    ValueRange = Callable[[NDArray[np.float32]], tuple[float, float]]

MICROSOFT = "com.microsoft"  # the domain of QGemm, an operator of ONNX Runtime's own
UINT8_MAX = 255
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor uint8 [n, k] that stands for (value - zero) * scale."""

    tensor: str
    scale: float
    zero: int = 0


def to_int8(
    model: onnx.ModelProto,
    preprocessing: Preprocessing,
    planned: Plan,
    activations: Activations,
    value_range: ValueRange,
) -> onnx.ModelProto:
    """Quantizes an fp32 model.

    Args:
        model: With digits' signature and the preprocessing's nodes.
        preprocessing: Its preprocessing.
        planned: What its dense layers become.
        activations: Of `quantized_tensors`, on training images: float32 [n, k].
        value_range: Gives the least and the greatest value that a scale has to cover; 0 is between them.

    Returns:
        A model of the same signature that has passed `onnx.checker`'s full check.

    Raises:
        UnsupportedError: it is no valid graph, or a bias is too large.
    """
    parts = _Parts()
    rows: Rows | None = parts.pixels(planned.found[0], preprocessing.scale)
    for i, (dense, layer) in enumerate(zip(planned.found, planned.layers, strict=False)):
        if rows is None:
            rows = parts.quantize(dense, *value_range(activations[dense.input]))
        if layer.output is not None and i + 1 < len(planned.layers):
            rows = parts.integers(dense, rows, layer, value_range(layer.output)[1])
            continue
        parts.floats(dense, rows, layer)
        rows = None
        if layer.output is not None:
            parts.fp32(planned.found[i + 1], *planned.last)
    return parts.put_in(model)


class _Parts:
    """The nodes and constants that take the place of dense layers, each dense layer's where its first node stood."""

    def __init__(self) -> None:
        self._nodes: dict[int, list[onnx.NodeProto]] = {}
        self._replaced: set[int] = set()
        self._constants: list[onnx.TensorProto] = []
        self._quantized: dict[str, Rows] = {}

    def pixels(self, first: DenseLayer, scale: float) -> Rows:
        """The raw pixels as the first dense layer's rows."""
        shape = self._constant("int8/shape", np.array([-1, len(first.weights)], np.int64))
        self._add(first, "Reshape", [INPUT, shape], "int8/pixels")
        return Rows("int8/pixels", scale)

    def quantize(self, dense: DenseLayer, least: float, greatest: float) -> Rows:
        """Rows of floats in uint8, with a zero point for what is below 0; those of a tensor once."""
        if dense.input in self._quantized:
            self._replaced.update(dense.nodes)
            return self._quantized[dense.input]
        scale = float(or_one(np.asarray(greatest - least))) / UINT8_MAX
        rows = Rows(f"{dense.input}/uint8", scale, round(-least / scale))
        self._quantized[dense.input] = rows
        self._add(dense, "QuantizeLinear", [dense.input, *self._scale_of(rows)], rows.tensor)
        return rows

    def integers(self, dense: DenseLayer, rows: Rows, layer: Layer, greatest: float) -> Rows:
        """The dense layer and its ReLU, in uint8: what is below the zero point of 0 is cut off."""
        result = Rows(f"{dense.output}/uint8", float(or_one(np.asarray(greatest))) / UINT8_MAX)
        self._gemm(dense, rows, layer, result.tensor, self._scale_of(result))
        return result

    def floats(self, dense: DenseLayer, rows: Rows, layer: Layer) -> None:
        """The dense layer of integers, and its ReLU if it has one, in floats."""
        sums = f"{dense.output}/sums" if dense.relu else dense.output
        self._gemm(dense, rows, layer, sums, [])
        if dense.relu:
            self._add(dense, "Relu", [sums], dense.output)

    def fp32(self, dense: DenseLayer, weights: Array, bias: Array) -> None:
        """The dense layer of floats, with other weights and another bias than it had."""
        sums = f"{dense.output}/sums" if dense.relu else dense.output
        constants = [
            self._constant(f"{dense.output}/weights", weights.astype(np.float32)),
            self._constant(f"{dense.output}/bias", bias.astype(np.float32)),
        ]
        self._add(dense, "Gemm", [dense.input, *constants], sums)
        if dense.relu:
            self._add(dense, "Relu", [sums], dense.output)

    def put_in(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model with these parts in it, checked, without what nobody needs any more."""
        quantized = onnx.ModelProto()
        quantized.CopyFrom(model)
        del quantized.graph.node[:]
        for position, node in enumerate(model.graph.node):
            quantized.graph.node.extend(self._nodes.get(position, [] if position in self._replaced else [node]))
        quantized.graph.initializer.extend(self._constants)
        quantized.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        prune(quantized)
        try:
            onnx.checker.check_model(quantized, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise UnsupportedError(f"its int8 form is no valid graph ({str(error).strip().splitlines()[0]})") from error
        return quantized

    def _gemm(self, dense: DenseLayer, rows: Rows, layer: Layer, output: str, output_scale: list[str]) -> None:
        """QGemm: rows times weights plus an int32 bias, in floats, or in uint8 if a scale for it is given."""
        name = f"{dense.output}/int8"
        bias = np.rint(layer.bias / (rows.scale * layer.scale))
        if not (np.abs(bias) <= INT32_MAX).all():
            raise UnsupportedError(f"the bias of {dense.output} is beyond int32 in units of its scales")
        constants = [
            self._constant(f"{name}/weights", layer.weights),
            self._constant(f"{name}/scale", layer.scale.astype(np.float32)),
            self._constant(f"{name}/zero", np.zeros(layer.scale.shape, np.int8)),
            self._constant(f"{name}/bias", bias.astype(np.int32)),
        ]
        inputs = [rows.tensor, *self._scale_of(rows), *constants, *output_scale]
        self._add(dense, "QGemm", inputs, output, domain=MICROSOFT)

    def _scale_of(self, rows: Rows) -> list[str]:
        scale = self._constant(f"{rows.tensor}/scale", np.array(rows.scale, np.float32))
        return [scale, self._constant(f"{rows.tensor}/zero", np.array(rows.zero, np.uint8))]

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        if all(constant.name != name for constant in self._constants):
            self._constants.append(numpy_helper.from_array(value, name))
        return name

    def _add(self, dense: DenseLayer, operator: str, inputs: list[str], output: str, **options: str) -> None:
        self._replaced.update(dense.nodes)
        self._nodes.setdefault(dense.nodes[0], []).append(helper.make_node(operator, inputs, [output], **options))
