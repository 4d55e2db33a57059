"""What learning curves say: overfitting, no overfitting, noise, divergence, and too little to judge."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.train.curves import History, best_epoch, in_words


def run(val_loss: list[float], loss: list[float] | None = None, val_accuracy: list[float] | None = None) -> History:
    """A history; unless given, training loss halves with each epoch and all accuracies are 90 %."""
    level = [0.9] * len(val_loss)
    loss = loss or [0.5**epoch for epoch in range(len(val_loss))]
    return {"loss": loss, "accuracy": level, "val_loss": val_loss, "val_accuracy": val_accuracy or level}


def test_loss_that_rises_after_its_lowest_while_training_loss_falls_is_overfitting() -> None:
    history = run(
        [0.30, 0.20, 0.22, 0.26, 0.30, 0.31, 0.32],
        loss=[0.40, 0.10, 0.05, 0.03, 0.02, 0.01, 0.0005],
        val_accuracy=[0.90, 0.9312, 0.932, 0.933, 0.934, 0.935, 0.934],
    )
    assert best_epoch(history) == 2
    assert in_words(history) == (
        "Overfitting from epoch 2 on: validation loss rises from 0.2000 (its lowest, epoch 2) to 0.3100"
        " (+55 %, median of epochs 5 to 7), while training loss falls from 0.1000 to 5.0e-04."
        " Validation accuracy still rose, from 93.12 % to 93.40 %."
    )


def test_of_two_epochs_after_the_turn_the_lower_counts() -> None:
    assert in_words(run([0.21, 0.2, 0.25, 0.26])).startswith("Overfitting from epoch 2 on")
    assert "(+25 %, the lower of epochs 3 to 4)" in in_words(run([0.21, 0.2, 0.25, 0.26]))
    assert in_words(run([0.21, 0.2, 0.9, 0.2])).startswith("No overfitting")


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (
            run([0.3, 0.2, 0.15, 0.1]),
            "No overfitting: validation loss is lowest in the last epoch (0.1000). More epochs may lower it further.",
        ),
        (
            run([0.3, 0.2, 0.203, 0.204, 0.205], val_accuracy=[0.9, 0.94, 0.93, 0.93, 0.93]),
            (
                "No overfitting: validation loss stays near its lowest, 0.2030 around epoch 2 and 0.2040 at the end"
                " (+0 %, median of epochs 3 to 5). Validation accuracy fell, from 94.00 % to 93.00 %."
            ),
        ),
        (  # one noisy epoch at the end
            run([0.30, 0.20, 0.21, 0.20, 0.60]),
            "No overfitting: validation loss stays near its lowest, 0.2100 around epoch 2 and 0.2100 at the end",
        ),
        (  # one noisy epoch, and no other after the turn
            run([0.30, 0.20, 0.60]),
            "No overfitting so far: validation loss is lowest in the second-to-last epoch (0.2000), and a single epoch",
        ),
        (  # a lucky epoch, lower than those around it
            run([0.30, 0.21, 0.19, 0.21, 0.21, 0.21]),
            "No overfitting: validation loss stays near its lowest, 0.2100 around epoch 3 and 0.2100 at the end",
        ),
        (
            run([0.3, 0.2, 0.4, 0.5, 0.6], loss=[0.3, 0.2, 0.3, 0.4, 0.5]),
            "No overfitting, but it gets worse: validation loss rises from 0.2000",
        ),
        (run([0.3]), "Only one epoch, so overfitting cannot be judged."),
        (
            {"loss": [0.3, 0.2], "accuracy": [0.9, 0.95]},
            "No validation split, so overfitting cannot be judged.",
        ),
    ],
)
def test_anything_else_is_not_overfitting(history: History, words: str) -> None:
    assert in_words(history).startswith(words)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_divergence(bad: float) -> None:
    history = run([0.3, 0.2, bad, bad])
    assert best_epoch(history) == 2
    assert in_words(history).startswith("Training diverged: from epoch 3 on the loss is not a finite number.")
    assert in_words({"loss": [bad], "accuracy": [0.1]}).startswith("Training diverged: from the first epoch on")
    assert best_epoch(run([bad, bad])) is None


losses = st.floats(0, 10) | st.just(math.nan)


@settings(deadline=None)
@given(st.lists(st.tuples(losses, losses, st.floats(0, 1)), min_size=1, max_size=30))
def test_any_curves_are_put_in_words(epochs: list[tuple[float, float, float]]) -> None:
    loss, val_loss, accuracy = (list(values) for values in zip(*epochs, strict=True))
    history = run(val_loss, loss, accuracy)
    words = in_words(history)
    assert words.endswith(".")
    if "stays near" in words:
        assert float(words.partition("(")[2].partition(" %")[0]) <= 5
