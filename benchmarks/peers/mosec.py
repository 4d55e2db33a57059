"""mosec, as its documentation has one write a server: raw bytes in and out, gathered for at most 1 ms.

Run by the peer's interpreter, not by ours: `server.py --address HOST --port PORT`, beside its model.onnx.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from mosec import Server, Worker

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = Path(__file__).with_name("model.onnx")


class Classifier(Worker):  # type: ignore[misc] # mosec is not installed here
    def __init__(self) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])

    def deserialize(self, data: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(data, np.uint8).reshape(-1, 28, 28)

    def forward(self, data: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        (rows,) = self._session.run(["probabilities"], {"pixels": np.concatenate(data)})
        return np.split(rows, np.cumsum([len(images) for images in data])[:-1])

    def serialize(self, data: NDArray[np.float32]) -> bytes:
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classifier, max_batch_size=64, max_wait_time=1, route="/classify")
    server.run()
