"""A job: what one call asks of the model, and the place for its answer."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digits.serve.errors import DeadlinePassed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answer:
    """What a job gets.

    Attributes:
        probabilities: Of its own images and no others, in their order, float32 [n, 10].
        queue_seconds: How long it waited for its batch.
        compute_seconds: How long the model ran on the batch.
        batch_size: How many images shared the batch.
    """

    probabilities: NDArray[np.float32]
    queue_seconds: float
    compute_seconds: float
    batch_size: int


@dataclass(slots=True, eq=False)
class Job:
    """Images on their way through the batcher.

    Attributes:
        pixels: uint8 [n, 28, 28].
        deadline: When the caller stops waiting, on the clock of time.monotonic(); never, if infinite.
        cancelled: Whether the caller has gone.
        arrived: When the job was made, on the same clock.
        answer: Completed exactly once, with an Answer or a CallError.
    """

    pixels: NDArray[np.uint8]
    deadline: float = float("inf")
    cancelled: bool = False
    arrived: float = field(default_factory=time.monotonic)
    answer: Future[Answer] = field(default_factory=Future)

    def cancel(self) -> None:
        """Says that the caller has gone; nothing is computed for it any more."""
        self.cancelled = True

    def dismiss_if_dead(self) -> bool:
        """Whether nobody waits any more; completes the answer if so, instead of the model."""
        if self.cancelled:
            self.answer.cancel()
            return True
        if self.deadline <= time.monotonic():
            self.answer.set_exception(DeadlinePassed("the deadline passed while the call waited; nothing was computed"))
            return True
        return False
