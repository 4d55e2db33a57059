"""What a training minimizes and reports where some images are not digits and are to get a flat answer."""

from typing import Any

from digits.model.tensorflow import keras

SURE = 0.5  # the least probability of an expected digit


def divergence(expected: Any, answers: Any) -> Any:
    """The cross-entropy [n] above that of the perfect answer, which is not 0 for a flat one."""
    entropy = -keras.ops.sum(expected * keras.ops.log(keras.ops.maximum(expected, 1e-9)), axis=-1)
    return keras.losses.categorical_crossentropy(expected, answers) - entropy


class DigitAccuracy(keras.metrics.CategoricalAccuracy):  # type: ignore[misc] # keras is untyped
    """The accuracy on the images that are digits."""

    def update_state(self, expected: Any, answers: Any, sample_weight: Any = None) -> Any:  # noqa: ARG002 - Keras's own
        is_digit = keras.ops.cast(keras.ops.max(expected, axis=-1) > SURE, "float32")
        return super().update_state(expected, answers, sample_weight=is_digit)
