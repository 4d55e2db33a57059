"""Distortion of training images: each is turned, zoomed, sheared, shifted and bent a little, each time differently.

After P. Y. Simard, D. Steinkraus, J. C. Platt, "Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis", ICDAR 2003: elastic displacements are uniform noise, smoothed by a Gaussian of SIGMA pixels and
scaled by alpha (theirs is 34).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import PIXELS, SIDE
from digits.model.tensorflow import tf

CENTRE = (SIDE - 1) / 2
SIGMA = 4.0  # pixels
MODES = 8  # an axis
ALPHA = 20.0  # pixels; what follows is the largest, to either side
ANGLE = np.deg2rad(10.0)
ZOOM = 0.1
SHEAR = 0.1
SHIFT = 1.0  # pixels


def distortion(strength: float) -> Callable[[Any, Any], Any]:
    """A function of images float32 [n, 784] in 0 to 1 and a seed int32 [2], to images of the same shape, distorted.

    It is made of TensorFlow's operations, so that it runs in a data pipeline, and the same seed gives the same images.
    The random numbers are drawn outside the part that XLA compiles: XLA makes that one four times as fast, and random
    numbers on a CPU ten times as slow.

    Args:
        strength: What the constants above are multiplied by.
    """
    rows, columns = (axis.reshape(-1) - CENTRE for axis in np.mgrid[:SIDE, :SIDE])
    terms = np.vstack([strength * ALPHA * _smooth_noise(), rows, columns, np.ones(PIXELS)]).astype(np.float32)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator] # tensorflow is untyped
    def warp(images: Any, noise: Any, lot: Any) -> Any:
        sine, cosine = tf.sin(ANGLE * lot[0]), tf.cos(ANGLE * lot[0])
        tall, wide, shear = 1 + ZOOM * lot[1], 1 + ZOOM * lot[2], SHEAR * lot[3]
        y = tf.stack([tall * cosine, shear - tall * sine, CENTRE + SHIFT * lot[4]], axis=1)
        x = tf.stack([wide * sine, wide * cosine, CENTRE + SHIFT * lot[5]], axis=1)
        weights = tf.concat([noise, tf.stack([y, x])], axis=2)  # of the terms, [2, n, MODES ** 2 + 3]
        return _sample(images, *tf.unstack(weights @ terms))

    def distort(images: Any, seed: Any) -> Any:
        n = tf.shape(images)[0]
        one, other = tf.unstack(tf.random.split(seed, 2))
        noise = tf.random.stateless_normal((2, n, MODES**2), one)
        lot = strength * tf.random.stateless_uniform((6, n), other, minval=-1, maxval=1)
        return warp(images, noise, lot)

    return distort


def _smooth_noise() -> NDArray[np.float64]:
    """Rows [MODES ** 2, 784]: combined with standard normal weights, they give smoothed uniform noise on the image.

    A Gaussian filter keeps only the slow modes of the noise, which are its leading singular vectors. Eight per axis
    hold 99.999 % of the variance, and cost a tenth of smoothing 784 numbers. The combination is normal, as is nearly
    that of many uniform numbers, whose variance on -1 to 1 is 1/3.
    """
    distance = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    gaussian = np.exp(-(distance**2) / (2 * SIGMA**2)) / (SIGMA * np.sqrt(2 * np.pi))
    vectors, values, _ = np.linalg.svd(gaussian)
    modes = (vectors * values).T[:MODES]
    noise: NDArray[np.float64] = np.kron(modes, modes) / np.sqrt(3)
    return noise


def _sample(images: Any, y: Any, x: Any) -> Any:
    """The images at the places y, x [n, 784], interpolated between the four pixels around each; edges repeat."""
    y, x = (tf.clip_by_value(at, 0, SIDE - 1.001) for at in (y, x))
    top, left = tf.floor(y), tf.floor(x)
    down, right = y - top, x - left
    flat = tf.reshape(images, [-1])
    corner = tf.cast(top * SIDE + left, tf.int32) + PIXELS * tf.range(tf.shape(images)[0])[:, None]
    upper = (1 - right) * tf.gather(flat, corner) + right * tf.gather(flat, corner + 1)
    lower = (1 - right) * tf.gather(flat, corner + SIDE) + right * tf.gather(flat, corner + SIDE + 1)
    return (1 - down) * upper + down * lower
