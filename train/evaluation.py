"""What a model answers on a test set, and how right it is."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from digits.train.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

GALLERY = 9  # digits of each kind


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Confidence beside accuracy, by bins of equal width over (0, 1] in the confidence; NaN where a bin is empty."""

    counts: Indices
    confidences: Floats  # their mean
    accuracies: Floats
    expected_calibration_error: float


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The probabilities float32 [n, 10] that a model gives the digits, and the true digits uint8 [n], n at least 1."""

    probabilities: NDArray[np.float32]
    truth: NDArray[np.uint8]

    @property
    def digits(self) -> NDArray[np.uint8]:
        """The predicted digits uint8 [n]: the most probable, the smallest of equals."""
        digits: NDArray[np.uint8] = self.probabilities.argmax(axis=1).astype(np.uint8)
        return digits

    @property
    def confidences(self) -> NDArray[np.float32]:
        """The probability float32 [n] of each predicted digit; NaN where training diverged."""
        confidences: NDArray[np.float32] = self.probabilities.max(axis=1)
        return confidences

    @property
    def correct(self) -> Indices:
        return np.flatnonzero(self.digits == self.truth)

    @property
    def incorrect(self) -> Indices:
        return np.flatnonzero(self.digits != self.truth)

    @property
    def accuracy(self) -> float:
        return len(self.correct) / len(self.truth)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy on images like these, as far as their number alone makes it uncertain.

        It is Wilson's (E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22,
        1927), which stays within 0 to 1 and is no point at either.
        """
        n, p, z = len(self.truth), self.accuracy, 1.959964  # the normal distribution's 97.5 % quantile
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # rounding may not leave p outside

    @property
    def confusion(self) -> Indices:
        """How many images of each digit (row) are predicted as each digit (column), [10, 10]."""
        classes = self.probabilities.shape[1]
        cells = self.truth.astype(np.intp) * classes + self.digits
        return np.bincount(cells, minlength=classes**2).reshape(classes, classes)

    @property
    def precision(self) -> Floats:
        """The share [10] of the images predicted as each digit that are it; NaN where none is predicted so."""
        return _share(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Floats:
        """The share [10] of the images of each digit that are predicted as it; NaN where there are none."""
        return _share(self.confusion.diagonal(), self.confusion.sum(axis=1))

    def calibration(self, bins: int = 15) -> Calibration:
        """Whether of the answers given with 80 % confidence about 80 % are right.

        The expected calibration error is the mean distance between a bin's confidence and its accuracy, weighted by its
        images: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
        equation 3, with their 15 bins. It is NaN if a confidence is, and that one is in no bin.
        """
        edges = np.linspace(0, 1, bins + 1, dtype=np.float32)  # as the confidences, lest 0.2 be above 0.2
        there = np.isfinite(self.confidences)
        bin_of = np.digitize(self.confidences[there], edges[1:-1], right=True)
        counts = np.bincount(bin_of, minlength=bins)
        hits = np.bincount(bin_of, (self.digits == self.truth)[there], minlength=bins)
        confidence = np.bincount(bin_of, self.confidences[there], minlength=bins)
        error = float(np.abs(hits - confidence).sum() / len(self.truth)) if there.all() else math.nan
        return Calibration(counts, _share(confidence, counts), _share(hits, counts), error)

    def gallery(self, kind: Literal["confident", "random"], seed: int) -> tuple[Indices, Indices]:
        """Up to nine correct and up to nine incorrect predictions to show.

        The correct ones are a random choice by the seed, in order. The incorrect ones are the most confident, the most
        confident first, or a random choice too.
        """
        random = np.random.default_rng(seed)
        correct, incorrect = _choice(random, self.correct), self.incorrect
        if kind == "random":
            return correct, _choice(random, incorrect)
        order = np.argsort(-self.confidences[incorrect], kind="stable")
        return correct, incorrect[order][:GALLERY]

    def write(self, path: Path) -> None:
        """Writes predictions.npz: the arrays probabilities, digits, truth, and the indices correct and incorrect."""
        np.savez(
            path,
            probabilities=self.probabilities,
            digits=self.digits,
            truth=self.truth,
            correct=self.correct,
            incorrect=self.incorrect,
        )


def read_predictions(path: Path) -> Evaluation:
    """What `Evaluation.write` wrote. Raises RunError if the file is missing or is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            probabilities, truth = arrays["probabilities"], arrays["truth"]
    except FileNotFoundError as error:
        raise RunError(f"{path}: does not exist; make it with `digits train`") from error
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: no whole predictions.npz ({error}); train again") from error
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1] or not len(truth):  # noqa: PLR2004 - [n, 10]
        shapes = f"probabilities {list(probabilities.shape)} and truth {list(truth.shape)}"
        raise RunError(f"{path}: {shapes} are no predictions; train again")
    return Evaluation(probabilities.astype(np.float32), truth.astype(np.uint8))


def _share(part: NDArray[np.number[Any]], whole: Indices) -> Floats:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _choice(random: np.random.Generator, indices: Indices) -> Indices:
    return np.sort(random.choice(indices, min(GALLERY, len(indices)), replace=False))
