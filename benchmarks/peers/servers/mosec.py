"""mosec, as its documentation writes a server: raw bytes in and out, batched for at most 1 ms.

Run by the peer's interpreter: `server.py --address HOST --port PORT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from mosec import Server, Worker
from onnx_model import OnnxModel, split

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Classifier(Worker):  # type: ignore[misc] # mosec is not installed here
    def __init__(self) -> None:
        super().__init__()
        self._model = OnnxModel()

    def deserialize(self, data: bytes) -> NDArray[np.uint8]:
        return np.frombuffer(data, np.uint8).reshape(-1, 28, 28)

    def forward(self, data: list[NDArray[np.uint8]]) -> Any:
        return split(self._model(np.concatenate(data)), data)

    def serialize(self, data: NDArray[np.float32]) -> bytes:
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classifier, max_batch_size=64, max_wait_time=1, route="/classify")
    server.run()
