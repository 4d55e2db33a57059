"""What is measured: a call, so many images in it, so many connections, and the servers that answer it."""

from __future__ import annotations

from dataclasses import dataclass

from digits.benchmarks.settings import BASELINE, ECHO, GRPCIO, OURS, SPINNING

CLASSIFY, UINT8, FP32 = "Classify", "ModelInfer UINT8", "ModelInfer FP32"
RAW, JSON = "HTTP bytes", "HTTP JSON"  # for peers without gRPC


@dataclass(frozen=True, slots=True)
class Cell:
    """One load.

    Attributes:
        call: Classify, or the Open Inference Protocol's ModelInfer with raw pixels of a type, or plain HTTP.
        images: In a call.
        connections: With one call at a time on each.
        servers: Which of them are measured, in turn; none for a load of the peers.
    """

    call: str
    images: int
    connections: int
    servers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        images = "" if self.images == 1 else f" of {self.images} images"
        return f"{self.call}{images}, {self.connections} connection{'' if self.connections == 1 else 's'}"


CLASSIFY_1 = Cell(CLASSIFY, 1, 1, (OURS, SPINNING, GRPCIO, ECHO, BASELINE))
CLASSIFY_16 = Cell(CLASSIFY, 1, 16, (OURS, GRPCIO, ECHO, BASELINE))
CLASSIFY_64 = Cell(CLASSIFY, 1, 64, (OURS, GRPCIO, ECHO, BASELINE))
IMAGES_64 = Cell(CLASSIFY, 64, 4, (OURS, GRPCIO, BASELINE))
UINT8_16 = Cell(UINT8, 1, 16, (OURS, ECHO))
UINT8_64 = Cell(UINT8, 1, 64, (OURS, ECHO))
# What is compared with each other comes close after one another; the first two are compared with the model in process.
CELLS = (IMAGES_64, CLASSIFY_1, CLASSIFY_16, CLASSIFY_64, UINT8_64, UINT8_16)
