"""Calibration: which range of an activation the 256 steps of a static int8 scale should cover.

Ranges are taken from training images. Of several ways to cut off what is rare, the one is kept whose model is nearest
to fp32 on validation images; the test images have no part in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from scipy import stats

from digits.export.int8 import to_int8
from digits.export.quantization import plan, quantized_tensors
from digits.model.engine import INPUT, Engine
from digits.model.parity import compare
from digits.model.runtime import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.export.int8 import ValueRange
    from digits.export.preprocessing import Preprocessing

    Activations = NDArray[np.float32]
    Pixels = NDArray[np.uint8]

IMAGES = 10_000  # at most, to calibrate on and to validate on
BINS = 2048


def calibrated(
    model: onnx.ModelProto, preprocessing: Preprocessing, training: Pixels, validation: Pixels
) -> tuple[onnx.ModelProto, str]:
    """The int8 form of an fp32 model, by the calibration that validation prefers.

    Args:
        model: With digits' signature.
        preprocessing: Its preprocessing.
        training: Images to calibrate on, uint8 [n, 28, 28].
        validation: Other ones, by which the mean |difference of a probability| from fp32 decides.

    Returns:
        The int8 model, and how it was made, for people.

    Raises:
        UnsupportedError: it has no int8 form.
    """
    seen = activations(model, quantized_tensors(model), training[:IMAGES])
    planned = plan(model, preprocessing, seen)
    reference = _answers(model, validation[:IMAGES])
    candidates = {
        name: to_int8(model, preprocessing, planned, seen, value_range) for name, value_range in RANGES.items()
    }
    distance = {
        name: compare(_answers(candidate, validation[:IMAGES]), reference).mean_abs_diff
        for name, candidate in candidates.items()
    }
    best = min(distance, key=distance.__getitem__)
    images = f"{len(training[:IMAGES]):,} training images"
    return candidates[best], f"int8 dense layers, the last one fp32; {best} calibration on {images}"


def activations(model: onnx.ModelProto, tensors: list[str], pixels: Pixels) -> dict[str, Activations]:
    """What the model computes inside: float32 [n, k] of each tensor."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = open_session(opened.SerializeToString(), "cpu", 1)
    return dict(zip(tensors, session.run(tensors, {INPUT: pixels}), strict=True))


def _answers(model: onnx.ModelProto, pixels: Pixels) -> NDArray[np.float32]:
    return Engine(model.SerializeToString(), provider="cpu").run(pixels)


def full_range(values: Activations) -> tuple[float, float]:
    """From the least to the greatest value, and 0 between them."""
    return min(float(values.min()), 0.0), max(float(values.max()), 0.0)


def percentile(share: float) -> ValueRange:
    """All but the outer `100 - share` percent on either side."""

    def value_range(values: Activations) -> tuple[float, float]:
        least, greatest = np.percentile(values, (100 - share, share))
        return min(float(least), 0.0), max(float(greatest), 0.0)

    return value_range


def entropy(values: Activations) -> tuple[float, float]:
    """The range whose 8-bit histogram loses least information, by the Kullback-Leibler divergence.

    Migacz 2017, "8-bit inference with TensorRT": magnitudes in 2,048 bins, and each threshold tried in turn. Exact
    zeros, which ReLU makes many of and which any scale keeps, are not counted.
    """
    least, greatest = full_range(values)
    magnitudes = np.abs(values[values != 0])
    if not magnitudes.size:
        return least, greatest
    levels = 256 if least == 0 else 128
    histogram, edges = np.histogram(magnitudes, BINS, (0, float(magnitudes.max())))
    tried = range(levels, BINS + 1, 8)
    threshold = float(edges[min(tried, key=lambda kept: _divergence(histogram, kept, levels))])
    return max(least, -threshold), min(greatest, threshold)


def _divergence(histogram: NDArray[np.intp], kept: int, levels: int) -> float:
    """Of the first `kept` bins, with the outliers in the last one, from what `levels` steps make of them."""
    clipped = histogram[:kept].astype(np.float64)
    filled = clipped > 0
    step = np.arange(kept) * levels // kept
    total, count = np.bincount(step, clipped, levels), np.bincount(step, filled, levels)
    merged = np.where(filled, (total / np.maximum(count, 1))[step], 0)
    clipped[-1] += histogram[kept:].sum()
    return float(stats.entropy(clipped, merged)) if merged.any() else np.inf


RANGES: dict[str, ValueRange] = {
    "max": full_range,
    "percentile 99.99": percentile(99.99),
    "percentile 99.9": percentile(99.9),
    "entropy": entropy,
}
