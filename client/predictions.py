"""The result of a classification, by a server or in this process."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import CLASSES
from digits.protos.digits.v1.digits_pb2 import ClassifyResponse

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds. Each attribute says how the parts of a call that was split are combined.

    Attributes:
        total: How long the caller waited: for pictures, retries and all parts. For an item of a stream, from the moment
            when it was drawn until its answer arrived.
        queue: How long the server let it wait for its batch; the longest of its parts.
        compute: How long the model ran on its batch; the sum over its parts.
        batch_size: How many images of all calls shared the batch; the largest of its parts.
    """

    total: float
    queue: float
    compute: float
    batch_size: int


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The answers to n images, in their order.

    Attributes:
        digits: The most probable digits, uint8 [n].
        confidences: Their probabilities, float32 [n].
        probabilities: Of the digits 0 to 9, float32 [n, 10]; None if they were not asked for.
        model_version: The model version that answered. If the parts of a call that was split were answered by several
            versions, all of them in order, joined by commas.
        timing: Where the time went.
        novelties: How unlike a digit each image is, float32 [n]; None if the model has no such score.
        not_a_digit: Whether each image does not show a digit, bool [n]: its novelty is above the model's threshold.
            None if the model has no novelty. The answer to it is in the other arrays all the same.
    """

    digits: NDArray[np.uint8]
    confidences: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    model_version: str
    timing: Timing
    novelties: NDArray[np.float32] | None = None
    not_a_digit: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.digits)


def from_response(response: ClassifyResponse, started: float) -> Predictions:
    """Those of a call that started at that time, by the monotonic clock."""
    queue, compute = response.queue_microseconds / 1e6, response.compute_microseconds / 1e6
    probabilities = np.fromiter(response.probabilities, np.float32, len(response.probabilities))
    novelties = np.fromiter(response.novelties, np.float32, len(response.novelties)) if response.novelties else None
    threshold = response.novelty_threshold if response.HasField("novelty_threshold") else None
    return Predictions(
        np.fromiter(response.digits, np.uint8, len(response.digits)),
        np.fromiter(response.confidences, np.float32, len(response.confidences)),
        probabilities.reshape(-1, CLASSES) if len(probabilities) else None,
        response.model_version,
        Timing(time.monotonic() - started, queue, compute, response.batch_size),
        novelties,
        not_a_digit(novelties, threshold),
    )


def not_a_digit(novelties: NDArray[np.float32] | None, threshold: float | None) -> NDArray[np.bool_] | None:
    """Which images have a novelty above the threshold; None if the model has no novelty."""
    return None if novelties is None or threshold is None else novelties > np.float32(threshold)


def joined(parts: Sequence[Predictions], started: float) -> Predictions:
    """Those of a call that was split, from those of its parts."""
    return Predictions(
        np.concatenate([part.digits for part in parts]),
        np.concatenate([part.confidences for part in parts]),
        _concatenated([part.probabilities for part in parts]),
        ",".join(dict.fromkeys(part.model_version for part in parts)),
        Timing(
            time.monotonic() - started,
            max(part.timing.queue for part in parts),
            sum(part.timing.compute for part in parts),
            max(part.timing.batch_size for part in parts),
        ),
        _concatenated([part.novelties for part in parts]),
        _concatenated([part.not_a_digit for part in parts]),
    )


def _concatenated(arrays: Sequence[NDArray[T] | None]) -> NDArray[T] | None:
    """All of them, or None if one is missing."""
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if len(present) == len(arrays) else None


def split(whole: Predictions, sizes: Sequence[int], started: Sequence[float]) -> Iterator[Predictions]:
    """Those of items that shared a call: how many images each has, and when it started."""
    now, stop = time.monotonic(), 0
    timing = whole.timing
    for size, each in zip(sizes, started, strict=True):
        rows, stop = slice(stop, stop + size), stop + size
        yield Predictions(
            whole.digits[rows],
            whole.confidences[rows],
            None if whole.probabilities is None else whole.probabilities[rows],
            whole.model_version,
            Timing(now - each, timing.queue, timing.compute, timing.batch_size),
            None if whole.novelties is None else whole.novelties[rows],
            None if whole.not_a_digit is None else whole.not_a_digit[rows],
        )
