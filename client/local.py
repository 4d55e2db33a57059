"""Classification in this process, without a server: the same engine and the same answers. Needs digits[serve]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from digits.client.predictions import Predictions, as_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class LocalClassifier:
    """Classifies digits with the newest version of a model repository, on the CPU."""

    def __init__(self, models: Path) -> None:
        """Raises ModelError if there is no version that runs here."""
        from digits.model.engine import load_engine
        from digits.model.repository import Repository

        model = Repository(models).open()
        self._version = str(model.number)
        self._engine = load_engine(model, provider="cpu")

    def classify(self, pixels: NDArray[np.uint8], *, include_probabilities: bool = False) -> Predictions:
        """As Client.classify."""
        probabilities = self._engine.run(as_pixels(pixels))
        return Predictions(
            digits=probabilities.argmax(axis=1).astype(np.uint8),
            confidences=probabilities.max(axis=1),
            probabilities=probabilities if include_probabilities else None,
            model_version=self._version,
        )
