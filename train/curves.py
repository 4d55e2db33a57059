"""What learning curves say about overfitting, in words."""

import math
from collections.abc import Mapping, Sequence
from statistics import median_low

from digits.report.number_format import percent

History = Mapping[str, Sequence[float]]
"""Keras's: `loss` and `accuracy` after each epoch, with a validation split `val_loss` and `val_accuracy` too."""

TOLERANCE = 0.05
SMALLEST = 1e-12  # a loss of 0 has no percentage


def best_epoch(history: History) -> int | None:
    """The epoch of the lowest validation loss, from 1; None without a validation split, or if no loss is a number."""
    losses = [(loss, epoch) for epoch, loss in enumerate(history.get("val_loss", ()), 1) if math.isfinite(loss)]
    return min(losses)[1] if losses else None


def in_words(history: History) -> str:
    """One to three sentences on overfitting in a run of at least one epoch, with the numbers that show it.

    The turn is the epoch of the lowest validation loss. A run overfits if validation loss rises by more than 5 % after
    it while training loss falls. Single epochs are noisy, and the lowest of fifty is mostly luck. So medians of three
    epochs are compared: those around the turn, and the last after it. Of two epochs after the turn the lower counts; a
    single one decides nothing.
    """
    if diverged := _first_not_finite(history):
        when = f"from epoch {diverged} on" if diverged > 1 else "from the first epoch on"
        return f"Training diverged: {when} the loss is not a finite number. A smaller learning rate may help."
    best, epochs = best_epoch(history), len(history["loss"])
    if best is None:
        return "No validation split, so overfitting cannot be judged."
    if epochs == 1:
        return "Only one epoch, so overfitting cannot be judged."
    lowest = _loss(history["val_loss"][best - 1])
    if best == epochs:
        return (
            f"No overfitting: validation loss is lowest in the last epoch ({lowest}). More epochs may lower it further."
        )
    if best == epochs - 1:
        return (
            f"No overfitting so far: validation loss is lowest in the second-to-last epoch ({lowest}),"
            " and a single epoch after it decides nothing."
        )
    return f"{_losses_in_words(history, best)} {_accuracy_in_words(history['val_accuracy'], best)}"


def _losses_in_words(history: History, best: int) -> str:
    """How the losses go on after the turn, which two epochs or more follow."""
    training, validation, epochs = history["loss"], history["val_loss"], len(history["loss"])
    around, end = median_low(validation[max(0, best - 2) : best + 1]), _end(validation, best)
    first = max(best, epochs - 3) + 1
    measured = f"{'the lower' if first == epochs - 1 else 'median'} of epochs {first} to {epochs}"
    if end <= (1 + TOLERANCE) * around:
        near = f"stays near its lowest, {_loss(around)} around epoch {best} and {_loss(end)} at the end"
        return f"No overfitting: validation loss {near} ({_change(around, end)}, {measured})."
    lowest = validation[best - 1]
    change = f"({_change(lowest, end)}, {measured})"
    rises = f"validation loss rises from {_loss(lowest)} (its lowest, epoch {best}) to {_loss(end)} {change}"
    course = f"from {_loss(training[best - 1])} to {_loss(training[-1])}"
    if training[-1] < training[best - 1]:
        return f"Overfitting from epoch {best} on: {rises}, while training loss falls {course}."
    return f"No overfitting, but it gets worse: {rises}, and training loss does not fall either ({course})."


def _accuracy_in_words(accuracies: Sequence[float], best: int) -> str:
    before, after = accuracies[best - 1], _end(accuracies, best)
    if percent(before) == percent(after):
        return f"Validation accuracy stayed at {percent(after)}."
    course = "still rose" if after > before else "fell"
    return f"Validation accuracy {course}, from {percent(before)} to {percent(after)}."


def _end(values: Sequence[float], best: int) -> float:
    """The median of the last three values after the turn, or the lower of the last two."""
    return median_low(values[max(best, len(values) - 3) :])


def _first_not_finite(history: History) -> int | None:
    epochs = zip(*(history[name] for name in ("loss", "val_loss") if name in history), strict=True)
    return next((epoch for epoch, losses in enumerate(epochs, 1) if not all(map(math.isfinite, losses))), None)


def _change(before: float, after: float) -> str:
    return f"{(after / max(before, SMALLEST) - 1) * 100:+.0f} %"


def _loss(loss: float) -> str:
    return f"{loss:.4f}" if loss >= 0.001 else f"{loss:.1e}"  # noqa: PLR2004 - two significant digits
