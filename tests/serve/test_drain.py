"""A drain: every accepted call is answered, new ones are told that the server is going; the exit code is 0."""

import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from digits.client import Client
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

Pixels = NDArray[np.uint8]

CALLERS = 64
SLOW = 5 * [(1, 0.3), (200, 0.3), (1, 0.3), (200, 0.0)]
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
WATCH = health_pb2.HealthCheckRequest(service="digits.v1.DigitClassifier")
Health = health_pb2.HealthCheckResponse


def call_until_refused(
    channel: grpc.Channel, message: digits_pb2.ClassifyRequest, answered: threading.Semaphore
) -> Counter[str]:
    """The outcomes of calls one after another until the first that is refused, and that one's text."""
    outcomes: Counter[str] = Counter()
    stub = digits_pb2_grpc.DigitClassifierStub(channel)
    while True:
        try:
            assert len(stub.Classify(message, timeout=60).digits) == len(message.pixels) // 784
        except grpc.RpcError as error:
            outcomes[error.code().name] += 1
            outcomes[str(error.details())] += 1
            return outcomes
        outcomes["OK"] += 1
        answered.release()


@pytest.mark.parametrize(
    ("count", "lame_duck"), [(1000, 0.3), *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)]
)
def test_64_callers_are_answered_or_told_that_the_server_goes(
    serving: Any, transport: str, test_digits: Pixels, count: int, lame_duck: float
) -> None:
    """Of `count` images each; the server is stopped when each caller has been answered about twice."""
    message = digits_pb2.ClassifyRequest(pixels=test_digits[:count].tobytes())

    def call(address: str, answered: threading.Semaphore) -> Counter[str]:
        with grpc.insecure_channel(address, OWN) as channel:
            return call_until_refused(channel, message, answered)

    options = ("--transport", transport, "--lame-duck", lame_duck)
    with serving(*options) as server, ThreadPoolExecutor(CALLERS) as pool:
        answered = threading.Semaphore(0)
        futures = [pool.submit(call, server.address, answered) for _ in range(CALLERS)]
        for _ in range(2 * CALLERS):
            assert answered.acquire(timeout=60)
        assert server.drain() == 0
        outcomes = sum((future.result() for future in futures), Counter())
        assert outcomes["UNAVAILABLE"] == CALLERS, outcomes


def test_draining_changes_health_ends_watches_and_refuses_new_calls(serving: Any, transport: str) -> None:
    with serving("--transport", transport) as server, grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(WATCH, timeout=60)
        assert next(watch).status == Health.SERVING
        server.process.terminate()
        assert next(watch).status == Health.NOT_SERVING
        outcomes = call_until_refused(channel, digits_pb2.ClassifyRequest(pixels=bytes(784)), threading.Semaphore())
        assert outcomes["OK"]  # calls are still answered for a while
        assert outcomes["UNAVAILABLE"] == outcomes["the server is draining; try another one"] == 1
        assert list(watch) == []
        assert server.process.wait(timeout=30) == 0
        assert "Traceback" not in server.stderr.read_text()


def test_answers_are_sent_to_a_caller_that_is_slow_to_read_them(serving: Any, transport: str) -> None:
    """A server that drains waits until a caller whose window is small has read all its answers."""
    message = digits_pb2.ClassifyRequest(pixels=bytes(784_000), include_probabilities=True).SerializeToString()
    window = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    with serving("--transport", transport, "--lame-duck", 0.2) as server:
        with grpc.insecure_channel(server.address, [*OWN, *window]) as channel:
            # As streams, for a unary call reads its answer at once.
            call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                "/digits.v1.DigitClassifier/Classify"
            )
            calls = [call(message, timeout=60) for _ in range(8)]
            for answered in calls:
                answered.initial_metadata()
            server.process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(timeout=3)
            answers = [digits_pb2.ClassifyResponse.FromString(next(answered)) for answered in calls]
        assert [len(answer.digits) for answer in answers] == [1000] * 8
        assert server.process.wait(timeout=30) == 0


def test_callers_that_watch_its_health_and_leave_hold_up_nobody(serving: Any, transport: str) -> None:
    """Six concurrently: a status that is being sent and a caller that is leaving must not wait for each other.

    Then three idle batchers, which wait in the same frontend or queue, end at once.
    """
    options = ("--transport", transport, "--instances", 3, "--lame-duck", 0, "--drain-timeout", 20)
    with serving(*options) as server:

        def watch(_: int) -> int:
            with grpc.insecure_channel(server.address, OWN) as channel:
                watching = health_pb2_grpc.HealthStub(channel).Watch(WATCH, timeout=20)
                status: int = next(watching).status
                watching.cancel()
                return status

        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(watch, range(120))) == {Health.SERVING}
        with Client(server.address) as client:
            assert client.ready()
            assert client.model().name == "digits"
        assert server.drain() == 0
        assert "not all calls were answered" not in server.stderr.read_text()
