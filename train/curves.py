"""What learning curves say about overfitting, in words."""

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
    """What the curves of a run say. Epochs count from 1; what is not known is None, NaN or False.

    The turn is the epoch of the lowest validation loss. A run worsens if validation loss rises by more than 5 % after
    it, and overfits if training loss falls meanwhile. Single epochs are noisy, and the lowest of fifty is mostly luck.
    So medians of three epochs are compared: those around the turn, and the last after it. Of two epochs after the turn
    the lower counts; a single one decides nothing.
    """

    diverged: int | None  # the first epoch whose loss is not a finite number
    best_epoch: int | None  # the turn
    lowest: float  # validation loss at the turn
    around: float = math.nan  # the median around the turn
    end: float = math.nan  # the median at the end
    worsens: bool = False
    overfits: bool = False


def read(history: History) -> Reading:
    """Reads the curves of a run of at least one epoch."""
    diverged, best, losses = _first_not_finite(history), best_epoch(history), history.get("val_loss", ())
    lowest = losses[best - 1] if best else math.nan
    if diverged or not best or best == len(losses):
        return Reading(diverged, best, lowest)
    around, end = median_low(losses[max(0, best - 2) : best + 1]), _end(losses, best)
    worsens = len(losses) - best > 1 and end > (1 + TOLERANCE) * around
    overfits = worsens and history["loss"][-1] < history["loss"][best - 1]
    return Reading(diverged, best, lowest, around, end, worsens, overfits)


def best_epoch(history: History) -> int | None:
    """The epoch of the lowest validation loss, from 1; None without a validation split, or if no loss is a number."""
    losses = [(loss, epoch) for epoch, loss in enumerate(history.get("val_loss", ()), 1) if math.isfinite(loss)]
    return min(losses)[1] if losses else None


def in_words(history: History) -> str:
    """One to three sentences on overfitting, with the numbers that show it."""
    reading, epochs = read(history), len(history["loss"])
    if reading.diverged:
        when = f"from epoch {reading.diverged} on" if reading.diverged > 1 else "from the first epoch on"
        return f"Training diverged: {when} the loss is not a finite number. A smaller learning rate may help."
    if reading.best_epoch is None:
        return "No validation split, so overfitting cannot be judged."
    if epochs == 1:
        return "Only one epoch, so overfitting cannot be judged."
    best, lowest = reading.best_epoch, _loss(reading.lowest)
    if best == epochs:
        return (
            f"No overfitting: validation loss is lowest in the last epoch ({lowest}). More epochs may lower it further."
        )
    if best == epochs - 1:
        return (
            f"No overfitting so far: validation loss is lowest in the second-to-last epoch ({lowest}),"
            " and a single epoch after it decides nothing."
        )
    return f"{_course(reading, history, best)} {_accuracy_in_words(history['val_accuracy'], best)}"


def _course(reading: Reading, history: History, best: int) -> str:
    """How the losses go on after the turn."""
    epochs, end = len(history["loss"]), _loss(reading.end)
    first = max(best, epochs - 3) + 1
    measured = f"{'the lower' if first == epochs - 1 else 'median'} of epochs {first} to {epochs}"
    if not reading.worsens:
        near = (
            f"validation loss stays near its lowest, {_loss(reading.around)} around epoch {best} and {end} at the end"
        )
        return f"No overfitting: {near} ({_change(reading.around, reading.end)}, {measured})."
    change = _change(reading.lowest, reading.end)
    lowest = f"{_loss(reading.lowest)} (its lowest, epoch {best})"
    rises = f"validation loss rises from {lowest} to {end} ({change}, {measured})"
    training = f"from {_loss(history['loss'][best - 1])} to {_loss(history['loss'][-1])}"
    if reading.overfits:
        return f"Overfitting from epoch {best} on: {rises}, while training loss falls {training}."
    return f"No overfitting, but it gets worse: {rises}, and training loss does not fall either ({training})."


def _change(before: float, after: float) -> str:
    return f"{(after / max(before, SMALLEST) - 1) * 100:+.0f} %"


def _accuracy_in_words(accuracies: Sequence[float], best: int) -> str:
    before, after = accuracies[best - 1], _end(accuracies, best)
    if percent(before) == percent(after):
        return f"Validation accuracy stayed at {percent(after)}."
    course = "still rose" if after > before else "fell"
    return f"Validation accuracy {course}, from {percent(before)} to {percent(after)}."


def _end(values: Sequence[float], best: int) -> float:
    """The median of the last three values after the turn, or the lower of the last two, or the last."""
    return median_low(values[max(best, len(values) - 3) :])


def _first_not_finite(history: History) -> int | None:
    epochs = zip(*(history[name] for name in ("loss", "val_loss") if name in history), strict=True)
    return next((epoch for epoch, losses in enumerate(epochs, 1) if not all(map(math.isfinite, losses))), None)


def _loss(loss: float) -> str:
    return f"{loss:.4f}" if loss >= 0.001 else f"{loss:.1e}"  # noqa: PLR2004 - two significant digits
