"""What a model answers on a test set, and how right it is."""

import math
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from digits.images.digit import CLASSES
from digits.train.errors import RunError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

GALLERY = 9  # digits of each kind


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Confidence and accuracy in bins of equal width over (0, 1] of the confidence; NaN where a bin is empty."""

    counts: Indices
    confidences: Floats  # the mean of each bin
    accuracies: Floats
    expected_calibration_error: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The probabilities float32 [n, 10] that a model gives the digits, and the true digits uint8 [n], n at least 1."""

    probabilities: NDArray[np.float32]
    truth: NDArray[np.uint8]

    @cached_property
    def digits(self) -> NDArray[np.uint8]:
        """The predicted digits uint8 [n]: the most probable, the smallest of equals."""
        digits: NDArray[np.uint8] = self.probabilities.argmax(axis=1).astype(np.uint8)
        return digits

    @cached_property
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
        """Wilson's 95 % interval of the accuracy on images like these: their number alone makes it uncertain."""
        low, high = binomtest(len(self.correct), len(self.truth)).proportion_ci(method="wilson")
        return min(float(low), self.accuracy), max(float(high), self.accuracy)  # rounding may exclude 0 or 1

    @property
    def confusion(self) -> Indices:
        """How many images of each digit (row) are predicted as each digit (column), [10, 10]."""
        matrix: Indices = confusion_matrix(self.truth, self.digits, labels=range(CLASSES))
        return matrix

    @property
    def precision_and_recall(self) -> Floats:
        """The shares [2, 10] of right ones among the images predicted as each digit, and among those of each digit.

        NaN where there are none.
        """
        labels: dict[str, Any] = {"labels": range(CLASSES), "zero_division": np.nan}
        return np.stack(precision_recall_fscore_support(self.truth, self.digits, **labels)[:2])

    def calibration(self, bins: int = 15) -> Calibration:
        """Whether about 80 % of the answers given with 80 % confidence are right.

        The expected calibration error is the mean distance between a bin's confidence and its accuracy, weighted by its
        images: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
        equation 3, with their 15 bins. It is NaN if a confidence is; such a confidence is in no bin. scikit-learn's
        calibration_curve leaves out the empty bins and the counts.
        """
        edges = np.linspace(0, 1, bins + 1, dtype=np.float32)  # float32 as the confidences, or 0.2 would exceed 0.2
        finite = np.isfinite(self.confidences)
        bin_of = np.digitize(self.confidences[finite], edges[1:-1], right=True)
        counts = np.bincount(bin_of, minlength=bins)
        hits = np.bincount(bin_of, (self.digits == self.truth)[finite], minlength=bins)
        confidence = np.bincount(bin_of, self.confidences[finite], minlength=bins)
        error = float(np.abs(hits - confidence).sum() / len(self.truth)) if finite.all() else math.nan
        with np.errstate(invalid="ignore"):  # 0 / 0 of an empty bin
            return Calibration(counts, confidence / counts, hits / counts, error)

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
        names = ("probabilities", "digits", "truth", "correct", "incorrect")
        np.savez(path, **{name: getattr(self, name) for name in names})


def read_predictions(path: Path) -> Evaluation:
    """Reads what `Evaluation.write` wrote. Raises RunError if the file is missing or is not complete."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            probabilities, truth = arrays["probabilities"], arrays["truth"]
    except FileNotFoundError as error:
        raise RunError(f"{path}: does not exist; make it with `digits train`") from error
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: not a complete predictions.npz ({error}); train again") from error
    if probabilities.shape != (len(truth), CLASSES) or truth.ndim != 1 or not len(truth):
        shapes = f"probabilities {list(probabilities.shape)} and truth {list(truth.shape)}"
        raise RunError(f"{path}: {shapes} are not predictions; train again")
    return Evaluation(probabilities.astype(np.float32), truth.astype(np.uint8))


def _choice(random: np.random.Generator, indices: Indices) -> Indices:
    return np.sort(random.choice(indices, min(GALLERY, len(indices)), replace=False))
