"""Images about which no good model is in doubt: whoever asks a server for them knows the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.model.engine import Engine
from digits.model.manifest import FP32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.images.mnist import Mnist
    from digits.model.repository import ModelVersion

COUNT = 64
SURE = 0.999


def clear_digits(version: ModelVersion, data: Mnist) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first 64 test images that fp32 is sure of, and rightly: uint8 [64, 28, 28]; and their digits, int64 [64].

    Raises:
        BenchmarkError: there are fewer.
    """
    answers = Engine(version.file(FP32), provider="cpu").run(data.x_test)
    sure = (answers.max(axis=1) >= SURE) & (answers.argmax(axis=1) == data.y_test)
    chosen = np.flatnonzero(sure)[:COUNT]
    if len(chosen) < COUNT:
        raise BenchmarkError(f"the model is sure of {len(chosen)} test images, and rightly; {COUNT} are needed")
    return np.ascontiguousarray(data.x_test[chosen]), data.y_test[chosen].astype(np.int64)
