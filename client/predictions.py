"""What a classification gives, from a server or from this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from digits.protos.digits.v1.digits_pb2 import ClassifyResponse

CLASSES = 10


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds. Of a call that was split, each attribute says what becomes of its parts.

    Attributes:
        total: How long the caller waited in all: pictures read, tries, parts. For an item of a stream it runs from its
            being drawn to its answer's being taken in.
        queue: How long the server let it wait for its batch; the longest of its parts.
        compute: How long the model ran on its batch; the sum over its parts.
        batch_size: How many images, its own and others', shared the batch; the largest of its parts.
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
        model_version: The model version that answered. Where a call was split, and its parts were answered by servers
            of several versions, all of them in order, joined by commas.
        timing: Where the time went.
    """

    digits: NDArray[np.uint8]
    confidences: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    model_version: str
    timing: Timing

    def __len__(self) -> int:
        return len(self.digits)


def joined(answers: Sequence[ClassifyResponse], total: float, *, include_probabilities: bool) -> Predictions:
    """The Predictions of a call that took `total` seconds, from the responses to its parts in their order."""
    digits = [np.fromiter(answer.digits, np.uint8, len(answer.digits)) for answer in answers]
    confidences = [np.fromiter(answer.confidences, np.float32, len(answer.confidences)) for answer in answers]
    probabilities = None
    if include_probabilities:
        rows = [np.fromiter(answer.probabilities, np.float32, len(answer.probabilities)) for answer in answers]
        probabilities = np.concatenate(rows).reshape(-1, CLASSES)
    return Predictions(
        digits=np.concatenate(digits),
        confidences=np.concatenate(confidences),
        probabilities=probabilities,
        model_version=",".join(dict.fromkeys(answer.model_version for answer in answers)),
        timing=Timing(
            total=total,
            queue=max(answer.queue_microseconds for answer in answers) / 1e6,
            compute=sum(answer.compute_microseconds for answer in answers) / 1e6,
            batch_size=max(answer.batch_size for answer in answers),
        ),
    )
