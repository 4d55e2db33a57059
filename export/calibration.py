"""Calibration: which range of an activation the 256 steps of a static int8 scale cover.

Ranges are taken from training images. Of several ways to cut off rare values, validation images choose the one whose
model is nearest to fp32; test images are not used.
"""

from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import stats

from digits.export.dense_layers import dense_layers
from digits.export.int8 import ValueRange, to_int8
from digits.export.preprocessing import Preprocessing
from digits.export.quantization import plan, replaced
from digits.model.engine import INPUT, Engine
from digits.model.golden import Pixels
from digits.model.parity import compare
from digits.model.runtime import open_session

Values = NDArray[np.float32]

IMAGES = 10_000  # at most, to calibrate on and to validate on
BINS = 2048


def calibrated(
    model: onnx.ModelProto, preprocessing: Preprocessing, training: Pixels, validation: Pixels
) -> tuple[onnx.ModelProto, str]:
    """The int8 form of an fp32 model, calibrated on training images, and how it was made, for people.

    Of the ways to calibrate, validation images choose: by the smallest mean |difference of a probability| from fp32.

    Raises:
        UnsupportedError: it has no int8 form.
    """
    training, validation = training[:IMAGES], validation[:IMAGES]
    dense = dense_layers(model)
    seen = activations(model, list(dict.fromkeys(layer.input for layer in replaced(dense))), training)
    planned, scale = plan(dense, preprocessing.offset, seen), preprocessing.scale
    candidates = {name: to_int8(model, scale, planned, range_of) for name, range_of in RANGES.items()}
    reference, *answers = (
        Engine(one.SerializeToString(), provider="cpu").run(validation) for one in (model, *candidates.values())
    )
    differences = {name: compare(own, reference).mean_abs_diff for name, own in zip(candidates, answers, strict=True)}
    best = min(differences, key=differences.__getitem__)
    made = f"int8 dense layers, the last one fp32; {best} calibration on {len(training):,} training images"
    return candidates[best], made


def activations(model: onnx.ModelProto, tensors: list[str], pixels: Pixels) -> dict[str, Values]:
    """The values of tensors inside the model: float32 [n, k] each."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    session = open_session(opened.SerializeToString(), "cpu", 1)
    return dict(zip(tensors, session.run(tensors, {INPUT: pixels}), strict=True))


def full_range(values: Values) -> tuple[float, float]:
    """From the least to the greatest value, and 0 between them."""
    return min(float(values.min()), 0.0), max(float(values.max()), 0.0)


def percentile_range(values: Values, share: float) -> tuple[float, float]:
    """All but the outer `100 - share` percent on either side."""
    return full_range(np.percentile(values, (100 - share, share)))


def entropy_range(values: Values) -> tuple[float, float]:
    """The range whose 8-bit histogram loses least information, by the Kullback-Leibler divergence.

    Migacz 2017, "8-bit inference with TensorRT": magnitudes in 2,048 bins, and each threshold tried in turn. Exact
    zeros, which ReLU often gives and any scale represents, are not counted.
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
    """Of the first `kept` bins, with the outliers in the last one, from their form in `levels` steps."""
    clipped = histogram[:kept].astype(np.float64)
    filled = clipped > 0
    step = np.arange(kept) * levels // kept
    total, count = np.bincount(step, clipped, levels), np.bincount(step, filled, levels)
    merged = np.where(filled, (total / np.maximum(count, 1))[step], 0)
    clipped[-1] += histogram[kept:].sum()
    return float(stats.entropy(clipped, merged)) if merged.any() else np.inf


RANGES: dict[str, ValueRange] = {
    "max": full_range,
    "percentile 99.99": partial(percentile_range, share=99.99),
    "percentile 99.9": partial(percentile_range, share=99.9),
    "entropy": entropy_range,
}
