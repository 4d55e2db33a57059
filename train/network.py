"""The network: a multi-layer perceptron over flattened digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from digits.train.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

PIXELS = 28 * 28
CLASSES = 10


def build(layers: Sequence[int], activation: str, optimizer: str) -> Any:
    """The compiled model: float32 [n, 784] in 0 to 1, to probabilities float32 [n, 10].

    With the default layers 512 and 256 it has 401,920 + 131,328 + 2,570 = 535,818 parameters.

    Raises:
        RunError: Keras knows no such activation or optimizer, or cannot build the network with it.
    """
    _require_known("activation", activation, keras.activations.get)
    _require_known("optimizer", optimizer, keras.optimizers.get)
    try:
        model = keras.Sequential(
            [
                keras.Input((PIXELS,), name="pixels"),
                *(keras.layers.Dense(nodes, activation=activation) for nodes in layers),
                keras.layers.Dense(CLASSES, activation="softmax", name="probabilities"),
            ],
            name="digits",
        )
        model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
        model(keras.ops.zeros((1, PIXELS)))  # what does not fit together says so here
    except Exception as error:  # whatever a layer or an optimizer raises that cannot do with its name alone
        raise RunError(f"--activation {activation} --optimizer {optimizer}: {_in_a_line(error)}") from error
    return model


def flatten(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images uint8 [n, 28, 28] as what the network takes: rows float32 [n, 784] in 0 to 1."""
    return images.reshape(-1, PIXELS).astype(np.float32) / np.float32(255)


def _require_known(setting: str, name: str, get: Callable[[str], Any]) -> None:
    try:
        get(name)
    except ValueError as error:
        raise RunError(f"--{setting} {name}: Keras knows no {setting} of that name") from error
    except Exception as error:
        raise RunError(f"--{setting} {name}: Keras cannot make it from its name ({_in_a_line(error)})") from error


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
