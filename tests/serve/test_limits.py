"""Limits of processes and of memory: the server fits its threads to them, or says in one line what it needs."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from digits.client import Client
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

Pixels = NDArray[np.uint8]
Cgroup = Callable[..., Path]

CALLERS = 16
FREE = ("--address", "127.0.0.1:0", "--transport")


def check_answers(address: str, digits: Pixels) -> None:
    """It answers 16 concurrent callers, a stream, and those who ask for its health."""
    with Client(address, timeout=60) as client, ThreadPoolExecutor(CALLERS) as pool:
        each = list(pool.map(lambda digit: client.classify(digit).digits[0], digits[:64]))
        assert client.ready(30)
    with grpc.insecure_channel(address) as channel:
        request = digits_pb2.ClassifyStreamRequest(request=digits_pb2.ClassifyRequest(pixels=digits[0].tobytes()))
        (answer,) = digits_pb2_grpc.DigitClassifierStub(channel).ClassifyStream(iter([request]), timeout=60)
        assert answer.response.digits == [each[0]]


@pytest.mark.parametrize("limit", [64, 100])
def test_it_answers_under_a_limit_of_processes(
    serving: Any, cgroup: Cgroup, transport: str, limit: int, test_digits: Pixels
) -> None:
    folder = cgroup({"pids.max": str(limit)})
    with serving("--transport", transport, setup=f"echo $$ > {folder}/cgroup.procs") as server:
        check_answers(server.address, test_digits)
        assert "limits of this process leave " in server.stderr.read_text()
        assert server.drain() == 0


def test_too_few_processes_are_one_line_and_what_it_advises_is_enough(
    last_line: Callable[..., str], serving: Any, cgroup: Cgroup, transport: str
) -> None:
    folder = cgroup({"pids.max": "30"})
    line = last_line(*FREE, transport, setup=f"echo $$ > {folder}/cgroup.procs")
    found = re.fullmatch(r"digits: there is room for (\d+) more threads, and a server needs (\d+): raise .*", line)
    assert found, line
    room, needed = map(int, found.groups())
    (folder / "pids.max").write_text(str(30 + needed - room))
    with serving("--transport", transport, setup=f"echo $$ > {folder}/cgroup.procs"):
        pass


def test_it_answers_within_an_address_space_of_1500_megabytes(
    serving: Any, transport: str, test_digits: Pixels
) -> None:
    with serving("--transport", transport, setup="ulimit -v 1500000") as server:
        check_answers(server.address, test_digits)
        assert server.drain() == 0


@pytest.mark.parametrize("letter", ["v", "d"])
def test_too_little_memory_is_one_line_and_what_it_advises_is_enough(
    last_line: Callable[..., str], serving: Any, transport: str, letter: str
) -> None:
    line = last_line(*FREE, transport, setup=f"ulimit -{letter} 1000000")
    assert line.startswith(f"digits: memory is limited to 1024000000 bytes (ulimit -{letter}), and a server needs ")
    needed = int(line.split("a server needs ")[1].split(":")[0])
    advice = f"ulimit -{letter} {-(-needed // 1024)}"
    assert f"give it `{advice}` or more" in line
    with serving("--transport", transport, setup=advice) as server, Client(server.address) as client:
        assert client.ready(30)


def test_calls_wait_for_the_existing_threads_if_no_other_can_be_started(
    serving: Any, cgroup: Cgroup, test_digits: Pixels
) -> None:
    """If other processes take their place after the start, the server goes on answering."""
    folder = cgroup({"pids.max": "max"})
    slow = ("--slow-down-microseconds", 100_000, "--max-batch-size", 1, "--no-warmup")
    with serving("--transport", "grpcio", *slow, setup=f"echo $$ > {folder}/cgroup.procs") as server:
        (folder / "pids.max").write_text("1")
        message = digits_pb2.ClassifyRequest(pixels=test_digits[0].tobytes())
        with grpc.insecure_channel(server.address) as channel:
            stub = digits_pb2_grpc.DigitClassifierStub(channel)
            calls = [stub.Classify.future(message, timeout=60) for _ in range(CALLERS)]
            assert all(call.result().digits for call in calls)
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as error:  # a stream takes a thread of its own
                next(stub.ClassifyStream(iter([]), timeout=60))
            assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
