"""Calibration: a temperature by which the logits are divided, so that confidences are what they say.

After C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017. It is folded
into the last dense layer, so that the model stays a plain one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

HIGHEST = 4.0  # and 1 / HIGHEST is the lowest
SMALLEST = 1e-30  # a probability of 0 has no logarithm
PRECISION = 1e-9  # of the temperature's logarithm


def fitted(probabilities: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The temperature with the lowest mean negative log-likelihood.

    Args:
        probabilities: The answers to images that training did not see, float32 [n, 10].
        expected: What these show, one-hot, float32 [n, 10].
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))

    def loss(logarithm: float) -> float:
        return -float((log_softmax(logits / np.exp(logarithm), axis=1) * expected).sum(axis=1).mean())

    limits, options = (-np.log(HIGHEST), np.log(HIGHEST)), {"xatol": PRECISION}
    return float(np.exp(minimize_scalar(loss, bounds=limits, method="bounded", options=options).x))


def fold(model: Any, temperature: float) -> None:
    """Divides the weights and the bias of the model's last layer by the temperature."""
    last = model.layers[-1]
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])
