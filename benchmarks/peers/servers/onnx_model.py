"""The model as all peers run it: ONNX Runtime on one thread. A peer's own interpreter imports this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

Array = Any  # a numpy array
MODEL = Path(__file__).with_name("model.onnx")


class OnnxModel:
    def __init__(self, path: Path | str = MODEL) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: Array) -> Array:
        """Probabilities, float32 [n, 10], of pixels [n, 28, 28]: uint8, or floats of 0 to 1."""
        if pixels.dtype.kind == "f":
            pixels = np.rint(pixels * np.float32(255))
        (rows,) = self._session.run(["probabilities"], {"pixels": pixels.astype(np.uint8, copy=False)})
        return rows

    def batch(self, inputs: list[Array]) -> list[Array]:
        """The rows of each of several inputs, in one run."""
        return split(self(np.concatenate(inputs)), inputs)


def split(rows: Array, inputs: list[Array]) -> list[Array]:
    """The rows of each of the inputs that were joined."""
    return np.split(rows, np.cumsum([len(images) for images in inputs])[:-1])


def images(raw: bytes) -> Array:
    """uint8 [n, 28, 28]."""
    return np.frombuffer(raw, np.uint8).reshape(-1, 28, 28)
