"""Quantization: the int8 weights of the dense layers, symmetric, and what they change in the rest of the model.

Where ReLU follows, a column of weights may be scaled by any c > 0 if the next dense layer's row is divided by it (Nagel
et al. 2019, "Data-free quantization through weight equalization and bias correction"). That gives each column its own
scale although ONNX Runtime gets a single one, which saves it a vector of factors in every call. Columns below the
median are not scaled up beyond it. Columns that are all 0 in int8 are dropped, and their constant part is added to the
next bias. The last dense layer stays in fp32 and its input is not quantized: as fast, and nearer to fp32.

Weights are not rounded one by one, but so that the sums are right for the training images (Frantar et al. 2023, "GPTQ:
accurate post-training quantization for generative pre-trained transformers").
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from digits.export.dense_layers import DenseLayer

Array = NDArray[np.float64]
Activations = Mapping[str, NDArray[np.float32]]

INT8_MAX = 127
DAMPING = 0.01  # of the mean square of an input, as in GPTQ


@dataclass(frozen=True, slots=True)
class QuantizedLayer:
    """A dense layer in integers.

    `output` is what ReLU gives on the training images, in these units, float32 [n, m], if the next dense layer takes
    exactly these columns; else None.
    """

    weights: NDArray[np.int8]  # [k, m], for weights * scale
    scale: Array  # one for all columns, [], or one for each, [m]
    bias: Array  # [m]
    output: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The quantized form of a model's dense layers, without the ranges of the activations between them."""

    dense: list[DenseLayer]
    quantized: list[QuantizedLayer]  # all of them but the last, or the only one
    last: tuple[Array, Array]  # weights and bias of the last one, which match the columns of the one before it
    activations: Activations  # the inputs of the quantized layers on training images, float32 [n, k] by tensor


def replaced(dense: list[DenseLayer]) -> list[DenseLayer]:
    """The dense layers that int8 replaces: all but the last, or the only one."""
    return dense[: max(len(dense) - 1, 1)]


def plan(dense: list[DenseLayer], offset: float, activations: Activations) -> Plan:
    """Rounds the weights of an fp32 model, of which `offset` is the offset of its preprocessing."""
    weights = [layer.weights.astype(np.float64) for layer in dense]
    biases = [layer.bias.astype(np.float64) for layer in dense]
    biases[0] = biases[0] + offset * weights[0].sum(axis=0)
    layers: list[QuantizedLayer] = []
    rows: NDArray[np.float32] | None = activations[dense[0].input] - np.float32(offset)
    for i, one in enumerate(replaced(dense)):
        seen = activations[one.input] if rows is None else rows
        following = dense[i + 1] if i + 1 < len(dense) else None
        if following is None or not one.relu or following.input != one.output or not one.sole:
            scale = or_one(np.abs(weights[i]).max(axis=0)) / INT8_MAX
            layers.append(QuantizedLayer(_rounded(weights[i], scale, seen), scale, biases[i]))
            rows = None
            continue
        layer, kept, factors = _equalized(weights[i], biases[i], seen)
        rest = np.maximum(biases[i], 0) @ np.where(kept[:, None], 0, weights[i + 1])
        biases[i + 1] = biases[i + 1] + rest
        weights[i + 1] = weights[i + 1][kept] / factors[:, None]
        sums = seen @ (weights[i][:, kept] * factors).astype(np.float32) + layer.bias.astype(np.float32)
        rows = np.maximum(sums, 0)
        layers.append(replace(layer, output=rows))
    return Plan(dense, layers, (weights[-1], biases[-1]), activations)


def _equalized(
    weights: Array, bias: Array, rows: NDArray[np.float32]
) -> tuple[QuantizedLayer, NDArray[np.bool_], Array]:
    """The layer with a single scale, the columns that are kept, bool [m], and the factors of those."""
    greatest = np.abs(weights).max(axis=0)
    factors = 1 / or_one(np.maximum(greatest, np.median(greatest)))
    scaled = weights * factors
    scale = or_one(np.abs(scaled).max()) / INT8_MAX
    kept: NDArray[np.bool_] = np.asarray(np.rint(scaled / scale).any(axis=0))
    kept[0] |= not kept.any()
    layer = QuantizedLayer(_rounded(scaled[:, kept], scale, rows), np.asarray(scale), (bias * factors)[kept])
    return layer, kept, factors[kept]


def _rounded(weights: Array, scale: Array, rows: NDArray[np.float32]) -> NDArray[np.int8]:
    """Weights / scale in int8. The rows after each row compensate for its error, as far as the inputs correlate."""
    together = (rows.T @ rows).astype(np.float64)
    spread = np.diag(together).mean()
    together[np.diag_indices_from(together)] += DAMPING * spread if spread > 0 else 1.0
    upper = np.linalg.cholesky(np.linalg.inv(together)).T
    left, rounded = weights / scale, np.empty(weights.shape, np.int8)
    for i in range(len(left)):
        rounded[i] = np.rint(left[i]).clip(-INT8_MAX, INT8_MAX)
        left[i + 1 :] -= np.outer(upper[i, i + 1 :] / upper[i, i], left[i] - rounded[i])
    return rounded


def or_one(greatest: Array) -> Array:
    """The greatest magnitude, of which a scale is made, or 1 where it is 0."""
    return np.where(greatest > 0, greatest, 1.0)
