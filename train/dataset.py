"""The data of a training: a stratified split, and batches that depend only on seed and step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from digits.images.digit import WHITE, one_hot
from digits.model.tensorflow import tf
from digits.train.distortion import distortion
from digits.train.drawn.drawn import Drawn
from digits.train.errors import RunError
from digits.train.settings import TrainSettings

Part = tuple[NDArray[np.float32], NDArray[np.float32]]
Parts = tuple[Part, Part | None]  # to train on, and to validate on
SEED_STEP = np.array([0x5EED, 0], np.int32)  # from one random choice of a batch to the next


def split(x: NDArray[np.float32], labels: NDArray[np.uint8], share: float, seed: int) -> Parts:
    """The images and one-hot labels to train on, and those to validate on: a share of them, stratified.

    Raises:
        RunError: a part is too small to contain every digit.
    """
    y = one_hot(labels)
    if not share:
        return (x, y), None
    try:
        x, x_validation, y, y_validation = train_test_split(x, y, test_size=share, stratify=labels, random_state=seed)
    except ValueError as error:
        raise RunError(f"--validation-split {share}: {error}") from error
    return (x, y), (x_validation, y_validation)


def steps(images: int, batch_size: int) -> int:
    """Gradient steps in an epoch: the whole batches in so many images, one at least."""
    return max(images // batch_size, 1)


def batches(training: Part, drawn: Sequence[Drawn], settings: TrainSettings, first_epoch: int) -> Any:
    """The batches of all epochs from `first_epoch` (0-based) on, `steps` of them in each epoch.

    Each depends only on seed, epoch and step, so that a resumed training sees the same batches as one that was never
    interrupted.

    All are whole: what is left over waits for the next epoch's shuffle. A small last batch would end each epoch with a
    full step on little evidence. On the embedded digits, whose last batch has 16 images, the mean test accuracy of
    seeds 0 to 5 is 94.2 % with whole batches and 93.1 % without. Images of `drawn` are added to each batch.
    """
    images, labels = map(tf.constant, training)
    pools = [(tf.constant(one.images), tf.constant(one.answers), one.taken) for one in drawn]
    size = min(settings.batch_size, len(images))
    whole = steps(len(images), settings.batch_size)
    distort = distortion(settings.distortion) if settings.distortion else None

    def epoch(number: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[settings.seed, number])
        chosen = tf.data.Dataset.from_tensor_slices(tf.reshape(order[: whole * size], (whole, size)))
        return chosen.enumerate(number * whole)

    def batch(step: Any, chosen: Any) -> tuple[Any, Any]:
        seed = tf.stack([settings.seed, tf.cast(step, tf.int32)])
        x, y = [tf.gather(images, chosen)], [tf.gather(labels, chosen)]
        for pixels, answers, count in pools:
            seed = seed + SEED_STEP
            which = tf.random.stateless_uniform([count], seed, maxval=len(pixels), dtype=tf.int32)
            x.append(tf.cast(tf.gather(pixels, which), tf.float32) / WHITE)
            y.append(tf.gather(answers, which))
        together = tf.concat(x, 0)
        if distort is not None:
            together = distort(together, tf.stack([settings.seed, tf.cast(step, tf.int32)]))
        return together, tf.concat(y, 0)

    options = tf.data.Options()
    options.autotune.enabled = False  # it has nothing to tune, and the end would wait up to a minute for its thread
    epochs = tf.data.Dataset.range(first_epoch, settings.epochs)
    return epochs.flat_map(epoch).map(batch).prefetch(2).with_options(options)
