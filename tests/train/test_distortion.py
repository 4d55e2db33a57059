"""Distortion: a digit stays a digit, the seed decides, and so does the strength."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from digits.images.digit import flatten
from digits.train import distortion


@pytest.fixture(scope="module")
def digits(test_digits: NDArray[np.uint8]) -> NDArray[np.float32]:
    return flatten(test_digits[:256])


def distorted(digits: NDArray[np.float32], strength: float, step: int) -> NDArray[np.float32]:
    images: NDArray[np.float32] = distortion.distortion(strength)(digits, [0, step]).numpy()
    return images


def test_the_same_seed_gives_the_same_images_and_another_one_others(digits: NDArray[np.float32]) -> None:
    first = distorted(digits, 1, 0)
    np.testing.assert_array_equal(first, distorted(digits, 1, 0))
    changed = np.abs(first - distorted(digits, 1, 1)).max(axis=1) > 0.1
    assert changed.all()


def test_a_weak_distortion_changes_nothing(digits: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(distorted(digits, 1e-4, 0), digits, atol=2e-3)


def test_ink_is_moved_and_bent_but_not_created_or_lost(digits: NDArray[np.float32]) -> None:
    images = distorted(digits, 1, 0)
    assert images.min() >= 0
    assert images.max() <= 1
    before, after = digits.sum(axis=1), images.sum(axis=1)
    assert np.median(after / before) == pytest.approx(1, abs=0.05)
    rows = np.repeat(np.arange(28), 28)
    moved = (images @ rows) / after - (digits @ rows) / before
    assert np.abs(moved).max() < 6
    assert moved.std() == pytest.approx(distortion.SHIFT / np.sqrt(3), rel=0.5)  # the shift, and what the bend adds


def test_the_bend_is_as_large_and_as_smooth_as_simards() -> None:
    """Compared with uniform noise smoothed by a Gaussian: the same variance, and correlation with nearby pixels."""
    random = np.random.default_rng(0)
    mine = random.standard_normal((2000, distortion.MODES**2)) @ distortion._smooth_noise()
    noise = random.uniform(-1, 1, (2000, 28, 28))
    theirs = gaussian_filter(noise, distortion.SIGMA, mode="constant", axes=(1, 2), truncate=7).reshape(-1, 784)
    for a, b in ((14 * 28 + 14, 14 * 28 + 14), (14 * 28 + 14, 14 * 28 + 18), (0, 0), (0, 5)):
        expected = (theirs[:, a] * theirs[:, b]).mean()
        assert (mine[:, a] * mine[:, b]).mean() == pytest.approx(expected, rel=0.15)
