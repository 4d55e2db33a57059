"""mosec, as its documentation writes a server: raw bytes in and out, batched for at most 1 ms.

Run by the peer's interpreter: `server.py --address HOST --port PORT`.
"""

from __future__ import annotations

from mosec import Server, Worker
from onnx_model import Array, OnnxModel, images


class Classifier(Worker):  # type: ignore[misc] # mosec is not installed here
    def __init__(self) -> None:
        super().__init__()
        self._model = OnnxModel()

    def deserialize(self, data: bytes) -> Array:
        return images(data)

    def forward(self, data: list[Array]) -> Array:
        return self._model.batch(data)

    def serialize(self, data: Array) -> Array:
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classifier, max_batch_size=64, max_wait_time=1, route="/classify")
    server.run()
