"""SIGTERM with 64 calls in flight: every one is answered, or told that the server is going; the exit code is 0."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

CALLERS = 64


def call_until_refused(address: str, message: digits_pb2.ClassifyRequest, busy: threading.Semaphore) -> Counter[str]:
    """What the calls of one connection came to, one after another until the first that is refused."""
    outcomes: Counter[str] = Counter()
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        while True:
            try:
                assert len(stub.Classify(message, timeout=60).digits) == len(message.pixels) // 784
                outcomes["OK"] += 1
                busy.release()
            except grpc.RpcError as error:
                outcomes[error.code().name] += 1
                return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(20))
def test_every_call_is_answered_or_told_that_the_server_goes(
    serving: Callable[..., Any], models: Path, transport: str, test_digits: NDArray[np.uint8], round_: int
) -> None:
    """Of one image in even rounds, and of 200 in odd ones; in every fourth round without a lame duck."""
    message = digits_pb2.ClassifyRequest(pixels=test_digits[: 200 if round_ % 2 else 1].tobytes())
    options = ("--transport", transport, "--lame-duck", 0 if round_ % 4 == 3 else 0.3)
    with serving("--models", models, *options) as server, ThreadPoolExecutor(CALLERS) as pool:
        busy = threading.Semaphore(0)
        futures = [pool.submit(call_until_refused, server.address, message, busy) for _ in range(CALLERS)]
        for _ in range(2 * CALLERS):
            assert busy.acquire(timeout=60)
        assert server.drain() == 0
        outcomes = sum((future.result() for future in futures), Counter())
        assert outcomes.keys() == {"OK", "UNAVAILABLE"}
        assert outcomes["UNAVAILABLE"] == CALLERS


def test_several_batchers_end_at_once(serving: Callable[..., Any], models: Path, transport: str) -> None:
    """Idle, three of them wait in the same front or queue."""
    options = ("--transport", transport, "--instances", 3, "--lame-duck", 0, "--drain-timeout", 20)
    with serving("--models", models, *options) as server:
        assert server.drain() == 0
        assert "not all calls were answered" not in server.stderr.read_text()


def test_a_stream_that_goes_on_sending_does_not_hold_up_a_drain(
    serving: Callable[..., Any], models: Path, transport: str
) -> None:
    message = digits_pb2.ClassifyStreamRequest(request=digits_pb2.ClassifyRequest(pixels=bytes(784)))
    options = ("--transport", transport, "--lame-duck", 0, "--drain-timeout", 20)
    with serving("--models", models, *options) as server, grpc.insecure_channel(server.address) as channel:
        answers = digits_pb2_grpc.DigitClassifierStub(channel).ClassifyStream(itertools.repeat(message), timeout=60)
        next(answers)
        server.process.terminate()
        with pytest.raises(grpc.RpcError) as error:
            list(answers)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(timeout=60) == 0
