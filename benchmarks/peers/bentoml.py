"""BentoML, as its documentation has one write a service, without its batching; arrays go as JSON.

Run by the peer's interpreter, not by ours: `bentoml serve server:Classifier`, beside its model.onnx.
"""

from __future__ import annotations

from pathlib import Path

import bentoml
import numpy as np
import onnxruntime

MODEL = Path(__file__).with_name("model.onnx")


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])

    @bentoml.api  # type: ignore[untyped-decorator] # not installed here
    def classify(self, pixels: np.ndarray) -> np.ndarray:
        rows: np.ndarray = self._session.run(["probabilities"], {"pixels": pixels.astype(np.uint8)})[0]
        return rows
