"""What the tests of the server share: types, stubs, and starts that fail."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from digits.protos.digits.v1 import digits_pb2_grpc

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
