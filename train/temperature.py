"""Calibration: a temperature by which the logits are divided, so that confidences are what they say.

After C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017. It is folded
into the last dense layer, so that the model stays a plain one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHEST = 4.0  # and 1 / HIGHEST is the lowest
SMALLEST = 1e-30  # a probability of 0 has no logarithm
STEPS = 60  # of the search, each of which leaves 62 % of the interval


def fitted(probabilities: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The temperature with the lowest mean negative log-likelihood.

    Args:
        probabilities: The answers to images that training did not see, float32 [n, 10].
        expected: What these show, one-hot, float32 [n, 10].
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    right = expected.argmax(axis=1)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(right)), right]).mean())

    golden, low, high = (np.sqrt(5) - 1) / 2, np.log(1 / HIGHEST), np.log(HIGHEST)
    for _ in range(STEPS):
        left, other = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, other) if loss(np.exp(left)) < loss(np.exp(other)) else (left, high)
    return float(np.exp((low + high) / 2))


def fold(model: Any, temperature: float) -> None:
    """Divides the weights and the bias of the model's last layer by the temperature."""
    last = model.layers[-1]
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])
