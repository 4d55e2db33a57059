"""The evaluation of a test set: numbers worked out by hand, and laws."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from digits.train.errors import RunError
from digits.train.evaluation import Evaluation, read_predictions


def answers(*given: tuple[int, float, int]) -> Evaluation:
    """An evaluation of predicted digit, its confidence and true digit; the other nine share the rest."""
    probabilities = [np.where(np.arange(10) == digit, sure, (1 - sure) / 9) for digit, sure, _ in given]
    return Evaluation(np.array(probabilities, np.float32), np.array([truth for *_, truth in given], np.uint8))


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    n = draw(st.integers(1, 60))
    raw = draw(arrays(np.float32, (n, 10), elements=st.floats(0.0625, 1, width=32)))
    return Evaluation(raw / raw.sum(axis=1, keepdims=True), draw(arrays(np.uint8, n, elements=st.integers(0, 9))))


FIVE = answers((7, 0.9, 7), (7, 0.6, 7), (7, 0.8, 1), (1, 0.7, 1), (2, 0.5, 7))


def test_the_most_probable_digit_is_the_prediction() -> None:
    assert FIVE.digits.dtype == np.uint8
    assert FIVE.digits.tolist() == [7, 7, 7, 1, 2]
    assert FIVE.confidences.dtype == np.float32
    np.testing.assert_allclose(FIVE.confidences, [0.9, 0.6, 0.8, 0.7, 0.5], rtol=1e-6)
    assert FIVE.correct.tolist() == [0, 1, 3]
    assert FIVE.incorrect.tolist() == [2, 4]
    assert FIVE.accuracy == 0.6


def test_confusion_precision_and_recall_are_by_true_digit_and_undefined_without_images() -> None:
    confusion = np.zeros((10, 10), int)
    confusion[7, 7], confusion[1, 7], confusion[1, 1], confusion[7, 2] = 2, 1, 1, 1
    precision, recall = np.full(10, np.nan), np.full(10, np.nan)
    precision[[7, 1, 2]] = 2 / 3, 1, 0
    recall[[7, 1]] = 2 / 3, 1 / 2
    assert FIVE.confusion.tolist() == confusion.tolist()
    np.testing.assert_array_equal(FIVE.precision_and_recall, [precision, recall])


def test_the_calibration_error_is_that_of_guo_et_al() -> None:
    # Of five bins (0.4, 0.6] holds 0.6 right and 0.5 wrong: accuracy 0.5, confidence 0.55. (0.6, 0.8] holds 0.8 wrong
    # and 0.7 right: 0.5 and 0.75. (0.8, 1] holds 0.9 right: 1 and 0.9. So 2/5 * 0.05 + 2/5 * 0.25 + 1/5 * 0.1.
    calibration = FIVE.calibration(bins=5)
    assert calibration.counts.tolist() == [0, 0, 2, 2, 1]
    np.testing.assert_allclose(calibration.confidences, [np.nan, np.nan, 0.55, 0.75, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(calibration.accuracies, [np.nan, np.nan, 0.5, 0.5, 1])
    assert calibration.expected_calibration_error == pytest.approx(0.14)


def test_a_diverged_model_has_no_calibration_and_is_right_only_for_zeros() -> None:
    diverged = Evaluation(np.full((3, 10), np.nan, np.float32), np.array([0, 1, 2], np.uint8))
    assert math.isnan(diverged.calibration().expected_calibration_error)
    assert diverged.correct.tolist() == [0]
    assert diverged.gallery("confident", seed=0)[1].tolist() == [1, 2]


def test_the_gallery_shows_nine_of_each_and_the_most_confident_wrong_ones_first_or_a_random_choice() -> None:
    evaluation = answers(*[(4, 0.99, 4)] * 30, *[(4, 0.3 + i / 100, 5) for i in range(30)])
    correct, incorrect = evaluation.gallery("confident", seed=1)
    assert incorrect.tolist() == list(range(59, 50, -1))
    assert sorted(set(correct.tolist())) == correct.tolist()
    assert len(correct) == 9
    assert correct.max() < 30
    first, again, other = (evaluation.gallery("random", seed) for seed in (1, 1, 2))
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert first[0].tolist() == correct.tolist()
    assert first[1].tolist() != other[1].tolist()
    assert first[1].min() >= 30
    for correct, incorrect in (FIVE.gallery("confident", seed=0), FIVE.gallery("random", seed=0)):
        assert (correct.tolist(), sorted(incorrect)) == ([0, 1, 3], [2, 4])  # all of few
    assert answers((1, 0.9, 1)).gallery("random", seed=0)[1].tolist() == []


def test_predictions_are_read_as_they_were_written_and_a_file_without_them_is_rejected(tmp_path: Path) -> None:
    path, contents = tmp_path / "predictions.npz", io.BytesIO()
    with pytest.raises(RunError, match="does not exist; make it with `digits train`"):
        read_predictions(path)
    FIVE.write(path)
    with np.load(path) as file:
        assert set(file) == {"probabilities", "digits", "truth", "correct", "incorrect"}
        assert (file["digits"].tolist(), file["incorrect"].tolist()) == ([7, 7, 7, 1, 2], [2, 4])
    again = read_predictions(path)
    np.testing.assert_array_equal(again.probabilities, FIVE.probabilities)
    np.testing.assert_array_equal(again.truth, FIVE.truth)
    np.save(contents, FIVE.truth)
    for content in (b"PK\x03\x04 no more of it", contents.getvalue()):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"not a complete predictions\.npz"):
            read_predictions(path)
    np.savez(path, truth=FIVE.truth)
    with pytest.raises(RunError, match="probabilities"):
        read_predictions(path)
    np.savez(path, probabilities=FIVE.probabilities, truth=FIVE.truth[1:])
    with pytest.raises(RunError, match=r"probabilities \[5, 10\] and truth \[4\] are not predictions; train again"):
        read_predictions(path)


@settings(deadline=None, max_examples=50)  # scikit-learn takes its time on a busy machine
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
    assert lowest < highest
    defined = evaluation.precision_and_recall[~np.isnan(evaluation.precision_and_recall)]
    assert ((defined >= 0) & (defined <= 1)).all()
