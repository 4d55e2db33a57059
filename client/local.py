"""Classification in this process, without a server: the same engine and the same answers. Needs digits[serve]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from digits.client.predictions import Predictions, as_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.model.manifest import Precision


class LocalClassifier:
    """Classifies digits with one model version, on the CPU."""

    def __init__(self, models: Path | None = None, *, precision: Precision = "auto") -> None:
        """Opens the newest version of a repository, or else the model in the box.

        Raises:
            ModelError: there is no version that runs here.
        """
        from digits.model import builtin
        from digits.model.selection import select

        model = builtin.repository(models).open()
        self._version = str(model.number)
        self._engine = select(model, precision=precision, provider="cpu").engine

    def classify(self, pixels: NDArray[np.uint8], *, include_probabilities: bool = False) -> Predictions:
        """As Client.classify."""
        probabilities = self._engine.run(as_pixels(pixels))
        return Predictions(
            digits=probabilities.argmax(axis=1).astype(np.uint8),
            confidences=probabilities.max(axis=1),
            probabilities=probabilities if include_probabilities else None,
            model_version=self._version,
        )
