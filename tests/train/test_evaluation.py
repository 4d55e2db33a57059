"""The evaluation of a test set: every number worked out by hand, or bound by a law."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from digits.train.errors import RunError
from digits.train.evaluation import Evaluation, read_predictions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def answers(*given: tuple[int, float, int]) -> Evaluation:
    """An evaluation of predicted digit, its confidence and true digit; the rest is shared by the other nine."""
    probabilities = [np.where(np.arange(10) == digit, sure, (1 - sure) / 9) for digit, sure, _ in given]
    return Evaluation(np.array(probabilities, np.float32), np.array([truth for *_, truth in given], np.uint8))


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    n = draw(st.integers(1, 60))
    raw: NDArray[np.float32] = draw(arrays(np.float32, (n, 10), elements=st.floats(0.0625, 1, width=32)))
    return Evaluation(raw / raw.sum(axis=1, keepdims=True), draw(arrays(np.uint8, n, elements=st.integers(0, 9))))


FIVE = answers((7, 0.9, 7), (7, 0.6, 7), (7, 0.8, 1), (1, 0.7, 1), (2, 0.5, 7))


def test_digits_confidences_and_accuracy_are_those_of_the_most_probable() -> None:
    assert FIVE.digits.dtype == np.uint8
    assert FIVE.digits.tolist() == [7, 7, 7, 1, 2]
    assert FIVE.confidences.dtype == np.float32
    np.testing.assert_allclose(FIVE.confidences, [0.9, 0.6, 0.8, 0.7, 0.5], rtol=1e-6)
    assert FIVE.correct.tolist() == [0, 1, 3]
    assert FIVE.incorrect.tolist() == [2, 4]
    assert FIVE.accuracy == 0.6


def test_the_confusion_matrix_has_true_digits_in_rows() -> None:
    expected = np.zeros((10, 10), int)
    expected[7, 7], expected[1, 7], expected[1, 1], expected[7, 2] = 2, 1, 1, 1
    assert FIVE.confusion.tolist() == expected.tolist()


def test_precision_and_recall_are_undefined_where_there_is_nothing_to_share() -> None:
    precision, recall = np.full(10, np.nan), np.full(10, np.nan)
    precision[[7, 1, 2]] = 2 / 3, 1, 0
    recall[[7, 1]] = 2 / 3, 1 / 2
    np.testing.assert_array_equal(FIVE.precision, precision)
    np.testing.assert_array_equal(FIVE.recall, recall)


def test_the_interval_is_wilsons() -> None:
    # For 9,850 of 10,000 SciPy's binomtest says so; for none of n the formula comes down to z² / (n + z²).
    hits = np.arange(10_000) < 9_850
    many = Evaluation(np.eye(10, dtype=np.float32)[np.where(hits, 3, 4)], np.full(10_000, 3, np.uint8))
    assert many.accuracy_interval == pytest.approx((0.982425, 0.987203), abs=1e-6)
    none = answers((1, 0.9, 2), (1, 0.9, 2))
    assert none.accuracy_interval == pytest.approx((0, 1.959964**2 / (2 + 1.959964**2)))
    all_right = answers((1, 0.9, 1), (1, 0.9, 1))
    assert all_right.accuracy_interval == pytest.approx((2 / (2 + 1.959964**2), 1))


def test_the_calibration_error_is_that_of_guo_et_al() -> None:
    # Of five bins (0.4, 0.6] holds 0.6 right and 0.5 wrong: accuracy 0.5, confidence 0.55. (0.6, 0.8] holds 0.8 wrong
    # and 0.7 right: 0.5 and 0.75. (0.8, 1] holds 0.9 right: 1 and 0.9. So 2/5 * 0.05 + 2/5 * 0.25 + 1/5 * 0.1.
    calibration = FIVE.calibration(bins=5)
    assert calibration.counts.tolist() == [0, 0, 2, 2, 1]
    np.testing.assert_allclose(calibration.confidences, [np.nan, np.nan, 0.55, 0.75, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(calibration.accuracies, [np.nan, np.nan, 0.5, 0.5, 1])
    assert calibration.expected_calibration_error == pytest.approx(0.14)


def test_a_diverged_model_has_no_calibration_and_is_right_of_zeros_alone() -> None:
    diverged = Evaluation(np.full((3, 10), np.nan, np.float32), np.array([0, 1, 2], np.uint8))
    assert math.isnan(diverged.calibration().expected_calibration_error)
    assert diverged.correct.tolist() == [0]
    assert diverged.gallery("confident", seed=0)[1].tolist() == [1, 2]


def test_the_gallery_shows_nine_of_each_the_most_confident_wrong_ones_first() -> None:
    right, wrong = [(4, 0.99, 4)] * 20, [(4, 0.3 + i / 100, 5) for i in range(20)]
    evaluation = answers(*right, *wrong)
    correct, incorrect = evaluation.gallery("confident", seed=1)
    assert incorrect.tolist() == list(range(39, 30, -1))
    assert len(set(correct.tolist())) == 9
    assert sorted(correct) == correct.tolist()
    assert set(correct.tolist()) <= set(range(20))


def test_a_random_gallery_is_the_same_for_the_same_seed_alone() -> None:
    evaluation = answers(*[(4, 0.9, 4)] * 30, *[(4, 0.9, 5)] * 30)
    first, again, other = (evaluation.gallery("random", seed) for seed in (1, 1, 2))
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert first[1].tolist() != other[1].tolist()
    assert set(first[1].tolist()) <= set(range(30, 60))
    assert first[0].tolist() == evaluation.gallery("confident", seed=1)[0].tolist()


def test_a_gallery_of_few_shows_them_all_and_of_none_nothing() -> None:
    for kind in ("confident", "random"):
        correct, incorrect = FIVE.gallery(kind, seed=0)
        assert correct.tolist() == [0, 1, 3]
        assert sorted(incorrect) == [2, 4]
        assert answers((1, 0.9, 1)).gallery(kind, seed=0)[1].tolist() == []


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    FIVE.write(tmp_path / "predictions.npz")
    with np.load(tmp_path / "predictions.npz") as file:
        assert set(file) == {"probabilities", "digits", "truth", "correct", "incorrect"}
        assert file["digits"].tolist() == [7, 7, 7, 1, 2]
        assert file["incorrect"].tolist() == [2, 4]
    again = read_predictions(tmp_path / "predictions.npz")
    np.testing.assert_array_equal(again.probabilities, FIVE.probabilities)
    np.testing.assert_array_equal(again.truth, FIVE.truth)


def test_a_file_of_no_predictions_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    with pytest.raises(RunError, match="does not exist; make it with `digits train`"):
        read_predictions(path)
    path.write_bytes(b"PK\x03\x04 no more of it")
    with pytest.raises(RunError, match=r"no whole predictions\.npz"):
        read_predictions(path)
    with path.open("wb") as file:
        np.save(file, FIVE.truth)
    with pytest.raises(RunError, match=r"no whole predictions\.npz"):
        read_predictions(path)
    np.savez(path, truth=FIVE.truth)
    with pytest.raises(RunError, match="probabilities"):
        read_predictions(path)
    np.savez(path, probabilities=FIVE.probabilities, truth=FIVE.truth[1:])
    with pytest.raises(RunError, match=r"probabilities \[5, 10\] and truth \[4\] are no predictions; train again"):
        read_predictions(path)


@given(evaluations(), st.integers(1, 20))
def test_the_laws_hold(evaluation: Evaluation, bins: int) -> None:
    n = len(evaluation.truth)
    both = np.concatenate([evaluation.correct, evaluation.incorrect])
    assert sorted(both.tolist()) == list(range(n))
    assert evaluation.confusion.sum() == n
    assert evaluation.confusion.trace() == len(evaluation.correct)
    calibration = evaluation.calibration(bins)
    assert calibration.counts.sum() == n
    assert 0 <= calibration.expected_calibration_error <= 1
    lowest, highest = evaluation.accuracy_interval
    assert 0 <= lowest <= evaluation.accuracy <= highest <= 1
    for share in (evaluation.precision, evaluation.recall):
        defined = share[~np.isnan(share)]
        assert ((defined >= 0) & (defined <= 1)).all()
