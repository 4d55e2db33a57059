"""Classification in this process, without a server, by the same engine. Needs digits-serving[serve]."""

import time
from pathlib import Path

import numpy as np

from digits.client.pixels import Images, Picture, pixels_of, rows_of
from digits.client.predictions import Predictions, Timing, not_a_digit
from digits.client.reading import Reading, reading
from digits.images.arrays import PixelRange
from digits.model.manifest import Precision


class LocalClassifier:
    """Classifies digits with one model version, on the CPU.

    Attributes:
        version: The model version that answers.
        precision: Which variant of it: fp32 or int8.
        sha256: The SHA-256 of its ONNX file.
    """

    def __init__(self, models: Path | None = None, *, precision: Precision = "auto") -> None:
        """Opens the newest version of a repository, or else the bundled model.

        Raises:
            ModelError: there is no version that runs here.
        """
        from digits.model.repository import open_repository
        from digits.model.selection import select

        model = open_repository(models).open()
        selection = select(model, precision=precision, provider="cpu")
        self.version, self.precision = str(model.number), selection.variant
        self.sha256 = model.sha256(selection.variant)
        self._engine = selection.engine
        self._threshold = selection.engine.threshold(model.manifest)

    def classify(
        self, images: Images, *, pixel_range: PixelRange = "0-1", include_probabilities: bool = False
    ) -> Predictions:
        """As Client.classify, with the same answers. All images are one batch, which runs at once."""
        started = time.monotonic()
        pixels = pixels_of(images, pixel_range)
        running = time.monotonic()
        probabilities, novelties = self._engine.answer(pixels)
        ended = time.monotonic()
        return Predictions(
            digits=probabilities.argmax(axis=1).astype(np.uint8),
            confidences=probabilities.max(axis=1),
            probabilities=probabilities if include_probabilities else None,
            model_version=self.version,
            timing=Timing(ended - started, 0.0, ended - running, len(pixels)),
            novelties=novelties,
            not_a_digit=not_a_digit(novelties, self._threshold),
        )

    def read(self, picture: Picture) -> Reading:
        """As Client.read, with the same answers."""
        rows = rows_of(picture)
        return reading(rows, self.classify(rows.pixels()))
