"""What the tests of the server share: types, stubs, and starts that fail."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from digits.protos.digits.v1 import digits_pb2_grpc
from digits.serve import classify
from digits.serve.job import FOREVER, Request, WaitingJob

Pixels = NDArray[np.uint8]
Digits = Callable[..., subprocess.CompletedProcess[str]]
Serving = Callable[..., Any]


@pytest.fixture
def channel(server: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> digits_pb2_grpc.DigitClassifierStub:
    return digits_pb2_grpc.DigitClassifierStub(channel)


@pytest.fixture(scope="session")
def last_line(digits: Digits) -> Callable[..., str]:
    """The error of a server that does not start: one line, no traceback, exit code 1."""

    def serve(*arguments: object, **options: Any) -> str:
        completed = digits("serve", *arguments, timeout=60, **options)
        assert completed.returncode == 1, completed.stderr
        assert "Traceback" not in completed.stderr
        assert not completed.stdout
        *logged, line = completed.stderr.splitlines()
        assert all(" INFO " in each or " WARNING " in each for each in logged), logged
        return line

    return serve


@pytest.fixture(scope="session")
def job_of() -> Callable[..., WaitingJob]:
    """Makes a job without a call: it has these images, uint8 [n, 28, 28], and asks for probabilities."""

    def make(pixels: Pixels, *, priority: int = 0, deadline: float = FOREVER) -> WaitingJob:
        request = Request(pixels.tobytes(), len(pixels), classify.encode_with_probabilities, priority)
        return WaitingJob(request, deadline)

    return make


@pytest.fixture(scope="session")
def jobs_of(job_of: Callable[..., WaitingJob]) -> Callable[[Pixels, Sequence[int]], list[WaitingJob]]:
    """Makes jobs of the given sizes, whose images are taken from an array in turn."""

    def make(pixels: Pixels, sizes: Sequence[int]) -> list[WaitingJob]:
        picked = np.resize(pixels, (sum(sizes), 28, 28))
        return [job_of(part) for part in np.split(picked, np.cumsum(sizes)[:-1])]

    return make
