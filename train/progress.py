"""What a training has reached, on disk at the end of each epoch, so that it can resume from there."""

import json
import math
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from digits.model.tensorflow import keras
from digits.storage.atomic_file import replacing
from digits.storage.deferred_signals import Deferred
from digits.train.errors import CheckpointError, DivergedError

CHECKPOINT = "checkpoint.npz"
DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)  # what NumPy raises for a damaged file


class Progress(keras.callbacks.Callback):  # type: ignore[misc] # keras is untyped
    """Keeps history, time and every variable of model and optimizer; ends a training that no longer improves.

    An epoch that ends with a loss or a weight that is not finite raises DivergedError, and the checkpoint stays that of
    the epoch before.

    Args:
        folder: Where the checkpoint is. It is replaced atomically.
        patience: Stop when the validation loss has not fallen for so many epochs, and take the weights of its lowest;
            0 means never.

    Attributes:
        signals: A signal that waits here ends the training after an epoch.
    """

    def __init__(self, folder: Path, patience: int) -> None:
        super().__init__()
        self.file = folder / CHECKPOINT
        self.patience = patience
        self.signals = Deferred()
        self.history: dict[str, list[float]] = {}
        self.seconds = 0.0
        self.kept = 0  # epochs in the checkpoint
        self.best: list[Any] = []  # the weights of the lowest validation loss

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history.get("loss", ()))

    @property
    def stopped(self) -> bool:
        """Whether the validation loss has not fallen for `patience` epochs."""
        if not self.patience or not self.epochs:
            return False
        losses = self.history["val_loss"]
        return self.epochs - 1 - losses.index(min(losses)) >= self.patience

    def restore(self, model: Any) -> None:
        """Sets model and optimizer to the checkpoint's state, if there is one. Raises CheckpointError if damaged."""
        if not self.file.exists():
            return
        model.optimizer.build(model.trainable_variables)
        try:
            with np.load(self.file, allow_pickle=False) as saved:
                state = json.loads(str(saved["state"]))
                for i, variable in enumerate(_variables(model)):
                    variable.assign(saved[f"variable_{i}"])
                self.best = [saved[f"best_{i}"] for i in range(state["best"])]
        except DAMAGE as error:
            raise CheckpointError(f"{self.file}: damaged ({error}); remove it to start at the first epoch") from error
        self.history, self.seconds = state["history"], state["seconds"]
        self.kept = self.epochs

    def on_epoch_begin(self, _epoch: int, _logs: object = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._require_finite(epoch + 1, logs)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.patience and self.history["val_loss"][-1] == min(self.history["val_loss"]):
            self.best = self.model.get_weights()
        self.seconds += time.perf_counter() - self._began
        self._write()
        self.model.stop_training = self.stopped
        self.signals.check()

    def _require_finite(self, epoch: int, logs: dict[str, float]) -> None:
        for name, shown in {"loss": "loss", "val_loss": "validation loss"}.items():
            if not math.isfinite(value := logs.get(name, 0.0)):
                raise DivergedError(f"training diverged: the {shown} of epoch {epoch} is {value}")
        # The last step of an epoch changes the weights after its loss was computed.
        if not all(np.isfinite(weights).all() for weights in self.model.get_weights()):
            raise DivergedError(f"training diverged: a weight is not finite after epoch {epoch}")

    def _write(self) -> None:
        state = {"history": self.history, "seconds": self.seconds, "best": len(self.best)}
        arrays: dict[str, Any] = {f"variable_{i}": np.asarray(v) for i, v in enumerate(_variables(self.model))}
        arrays |= {f"best_{i}": weights for i, weights in enumerate(self.best)}
        with replacing(self.file) as temporary, temporary.open("wb") as file:
            np.savez(file, state=np.asarray(json.dumps(state)), **arrays)
        self.kept = self.epochs


def _variables(model: Any) -> list[Any]:
    """All that training changes: weights, the states of random generators, and the optimizer's variables."""
    return [*model.variables, *model.optimizer.variables]
