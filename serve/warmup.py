"""The warm-up: ready means that the first call is as fast as the thousandth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from digits.protos.digits.v1 import digits_pb2
from digits.serve.batcher import Batcher
from digits.serve.job import IMAGE_BYTES, Job
from digits.serve.services import CLASSIFY
from digits.serve.statistics import Statistics

if TYPE_CHECKING:
    from digits.serve.batcher import Run
    from digits.serve.errors import CallError
    from digits.serve.services import Services


class WarmUpJob(Job):
    """Has no caller."""

    __slots__ = ()

    def answer(self, response: bytes) -> None:
        pass

    def fail(self, error: CallError) -> None:
        raise error

    def drop(self) -> None:
        pass


def warm_up(services: Services, run: Run, max_batch_size: int) -> None:
    """Takes calls of 1, 2, 4, ... images the whole way but for the wire: what comes first is slow, memory and code."""
    batcher = Batcher(run, "", Statistics.alone())
    size = 1
    while size <= max_batch_size:
        message = digits_pb2.ClassifyRequest(pixels=bytes(size * IMAGE_BYTES), include_probabilities=size > 1)
        request = services.accept(CLASSIFY, message.SerializeToString())
        batcher.answer([WarmUpJob(request, time.monotonic())])
        size *= 2
