"""The model without a server: what one thread makes of it in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.model.engine import Engine
from digits.model.manifest import FP32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.model.repository import ModelVersion
    from digits.model.selection import Selection

LEAST = 0.5  # seconds of a measurement
BATCH = 64


@dataclass(frozen=True, slots=True)
class InProcess:
    """How fast it is on one thread."""

    microseconds: float  # of a single image
    images_per_second: int  # in batches of 64


class Model:
    """The model that is served, in this process.

    Attributes:
        pixels: Images, uint8 [64, 28, 28].
        digits: What it takes them for, and fp32.
        variant: Such as `int8`.
        file: It, as ONNX.
    """

    def __init__(self, version: ModelVersion, selection: Selection, images: NDArray[np.uint8]) -> None:
        """Takes the first of the images about which it agrees with fp32: who asks for them knows the answer."""
        self.variant, self.file = selection.variant, version.file(selection.variant)
        self._engine = selection.engine
        fp32 = Engine(version.file(FP32), provider="cpu")
        digits = self._engine.run(images).argmax(axis=1)
        agreed = np.flatnonzero(digits == fp32.run(images).argmax(axis=1))[:BATCH]
        if len(agreed) < BATCH:
            raise BenchmarkError(f"fp32 and {self.variant} agree about {len(agreed)} images; {BATCH} are needed")
        self.pixels, self.digits = np.ascontiguousarray(images[agreed]), digits[agreed]

    def measure(self, least: float = LEAST) -> InProcess:
        one, many = (_seconds(self._engine, self.pixels[:size], least) for size in (1, BATCH))
        return InProcess(microseconds=round(one * 1e6, 2), images_per_second=round(BATCH / many))


def _seconds(engine: Engine, batch: NDArray[np.uint8], least: float) -> float:
    """Of a run, after one to warm up."""
    engine.run(batch)
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < least:
        engine.run(batch)
        calls += 1
    return passed / calls
