"""What learning curves say, in words: overfitting above all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from digits.report.number_format import percent

History = Mapping[str, Sequence[float]]
"""Keras's: `loss` and `accuracy` after each epoch, with a validation split `val_loss` and `val_accuracy` too."""

TOLERANCE = 0.05
SMALLEST = 1e-12  # a loss of 0 has no percentage


@dataclass(frozen=True, slots=True)
class Reading:
    """What the curves of a run say. Epochs count from 1; what cannot be said is None or False.

    The turn is the epoch of the lowest validation loss. A run worsens if validation loss rises after it by more than
    5 %, and overfits if training loss meanwhile falls. Single epochs are noisy, and the lowest of fifty is mostly a
    lucky one; so what is compared are medians of three epochs: those around the turn, and the last after it. Of two
    epochs after the turn the lower counts; a single one decides nothing.
    """

    diverged: int | None  # the first epoch with a loss that is no finite number
    best_epoch: int | None  # the turn
    lowest: float | None  # validation loss at the turn
    around: float | None  # the same, as above
    end: float | None  # validation loss in the end, as above
    worsens: bool
    overfits: bool


def read(history: History) -> Reading:
    """Reads the curves of a run of at least one epoch."""
    diverged, best, losses = _first_not_finite(history), best_epoch(history), history.get("val_loss", ())
    lowest = losses[best - 1] if best else None
    if diverged or not best or best == len(losses):
        return Reading(diverged, best, lowest, around=None, end=None, worsens=False, overfits=False)
    around, end = median_low(losses[max(0, best - 2) : best + 1]), _end(losses, best)
    worsens = len(losses) - best > 1 and end > (1 + TOLERANCE) * around
    overfits = worsens and history["loss"][-1] < history["loss"][best - 1]
    return Reading(diverged, best, lowest, around, end, worsens, overfits)


def best_epoch(history: History) -> int | None:
    """The epoch of the lowest validation loss, from 1; None without a validation split, or if no loss is a number."""
    losses = [(loss, epoch) for epoch, loss in enumerate(history.get("val_loss", ()), 1) if math.isfinite(loss)]
    return min(losses)[1] if losses else None


def in_words(history: History) -> str:
    """One to three sentences on overfitting, with the numbers that say so."""
    reading, epochs = read(history), len(history["loss"])
    if reading.diverged:
        when = f"from epoch {reading.diverged} on" if reading.diverged > 1 else "from the first epoch on"
        return f"Training diverged: {when} the loss is not a finite number. A smaller learning rate may help."
    if reading.best_epoch is None or reading.lowest is None:
        return "No validation split, so nothing can be said of overfitting."
    if epochs == 1:
        return "One epoch only, so nothing can be said of overfitting."
    if reading.around is None or reading.end is None:
        return (
            f"No overfitting: validation loss is lowest in the last epoch ({_loss(reading.lowest)})."
            " More epochs may lower it further."
        )
    if reading.best_epoch == epochs - 1:
        return (
            f"No overfitting so far: validation loss is lowest in the last epoch but one ({_loss(reading.lowest)}),"
            " and a single epoch after it decides nothing."
        )
    course = _rises(reading, history["loss"]) if reading.worsens else _stays(reading, epochs)
    return f"{course} {_accuracy_in_words(history['val_accuracy'], reading.best_epoch)}"


def _rises(reading: Reading, training: Sequence[float]) -> str:
    best, lowest, end = reading.best_epoch or 1, reading.lowest or 0.0, reading.end or 0.0
    rises = (
        f"validation loss rises from {_loss(lowest)} (its lowest, epoch {best}) to {_loss(end)}"
        f" ({_change(lowest, end)}, {_measured(best, len(training))})"
    )
    course = f"from {_loss(training[best - 1])} to {_loss(training[-1])}"
    if reading.overfits:
        return f"Overfitting from epoch {best} on: {rises}, while training loss falls {course}."
    return f"No overfitting, yet worse with time: {rises}, but training loss does not fall either ({course})."


def _stays(reading: Reading, epochs: int) -> str:
    best, around, end = reading.best_epoch or 1, reading.around or 0.0, reading.end or 0.0
    return (
        f"No overfitting: validation loss stays near its lowest, {_loss(around)} around epoch {best} and {_loss(end)}"
        f" in the end ({_change(around, end)}, {_measured(best, epochs)})."
    )


def _change(before: float, after: float) -> str:
    return f"{(after / max(before, SMALLEST) - 1) * 100:+.0f} %"


def _measured(best: int, epochs: int) -> str:
    """Of which epochs the loss in the end is."""
    first = max(best, epochs - 3) + 1
    return f"{'median' if epochs - first > 1 else 'the lower'} of epochs {first} to {epochs}"


def _accuracy_in_words(accuracies: Sequence[float], best: int) -> str:
    before, after = percent(accuracies[best - 1]), percent(_end(accuracies, best))
    if before == after:
        return f"Validation accuracy stayed at {after}."
    rose = _end(accuracies, best) > accuracies[best - 1]
    return f"Validation accuracy {'still rose' if rose else 'fell'}, from {before} to {after}."


def _end(values: Sequence[float], best: int) -> float:
    """The median of the last three values after the turn, or the lower of the last two, or the last."""
    return median_low(values[max(best, len(values) - 3) :])


def _first_not_finite(history: History) -> int | None:
    epochs = zip(*(history[name] for name in ("loss", "val_loss") if name in history), strict=True)
    return next((epoch for epoch, losses in enumerate(epochs, 1) if not all(map(math.isfinite, losses))), None)


def _loss(loss: float) -> str:
    return f"{loss:.4f}" if loss >= 0.001 else f"{loss:.1e}"  # noqa: PLR2004 - two digits that say something
