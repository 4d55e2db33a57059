"""BentoML, as its documentation writes a service, without its batching; arrays are sent as JSON.

Run by the peer's interpreter: `bentoml serve server:Classifier`.
"""

from __future__ import annotations

import bentoml
import numpy as np
from onnx_model import OnnxModel


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self._model = OnnxModel()

    @bentoml.api  # type: ignore[untyped-decorator] # not installed here
    def classify(self, pixels: np.ndarray) -> np.ndarray:
        rows: np.ndarray = self._model(pixels.astype(np.uint8))
        return rows
