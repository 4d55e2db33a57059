"""Several workers at one port: real processes, which are killed."""

import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from digits.model.repository import BUNDLED, open_repository
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.protos.inference.v2 import inference_pb2, inference_pb2_grpc
from digits.serve.address import hold
from digits.serve.errors import StartError

TWO = ("--workers", 2, "--lame-duck", 0.1, "--max-queue-size", 64)
REQUEST = digits_pb2.ClassifyRequest(pixels=bytes(784))
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
LONG = 120.0  # seconds: only for what would hang


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundled model."""
    return shutil.copytree(BUNDLED, tmp_path_factory.mktemp("workers") / "models")


@pytest.fixture(scope="module")
def pair(serving: Any, repository: Path, transport: str) -> Iterator[Any]:
    """A server with two workers."""
    with serving("--models", repository, "--transport", transport, *TWO) as server:
        yield server


def classify(address: str) -> list[int]:
    """Over a new connection, and over another one if that has met a worker that is no more."""
    for left in (2, 1, 0):
        try:
            with grpc.insecure_channel(address, OWN) as channel:
                stub = digits_pb2_grpc.DigitClassifierStub(channel)
                return list(stub.Classify(REQUEST, timeout=LONG, wait_for_ready=True).digits)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or not left:
                raise
    raise AssertionError


def workers(server: Any) -> set[int]:
    """The processes that a server has started."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return {int(child) for children in tasks for child in children.read_text().split()}


def open_files(pid: int) -> int:
    """How many files a process has open, of which connections are the most."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def count_images(address: str) -> int:
    """The images in the server's statistics."""
    with grpc.insecure_channel(address, OWN) as channel:
        stub = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = stub.ModelStatistics(inference_pb2.ModelStatisticsRequest(name="digits"), timeout=LONG)
        return response.model_stats[0].inference_count


def has_counted(address: str, images: int) -> bool:
    """Whether the server's statistics reach so many images: an answer may arrive just before it is counted."""
    end = time.monotonic() + LONG
    while (counted := count_images(address)) < images and time.monotonic() < end:
        pass
    return counted == images


def test_both_workers_get_calls_serve_the_same_and_count_together(pair: Any) -> None:
    assert ", 2 workers, at 127.0.0.1:" in pair.ready
    before, opened = count_images(pair.address), {pid: open_files(pid) for pid in workers(pair)}
    with ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(pair.address, OWN)) for _ in range(32)]
        stubs = [digits_pb2_grpc.DigitClassifierStub(channel) for channel in channels]
        answers = {stub.Classify(REQUEST, timeout=LONG).digits[0] for stub in stubs}
        models = {stub.GetModel(digits_pb2.GetModelRequest(), timeout=LONG).SerializeToString() for stub in stubs}
        shares = [open_files(pid) - files for pid, files in opened.items()]
    assert len(answers) == len(models) == 1
    assert len(shares) == 2
    assert min(shares) > 0
    assert sum(shares) >= 31  # 32 connections; the one that counted before may end meanwhile
    assert has_counted(pair.address, before + 32)


def test_a_killed_worker_is_replaced_while_the_other_serves(pair: Any, repository: Path) -> None:
    """The new one serves the same version, not the newest; what the dead one counted still counts."""
    newest = open_repository(repository).versions()[-1]
    counted = count_images(pair.address) + 1
    classify(pair.address)
    before = workers(pair)
    victim = min(before)
    shutil.copytree(repository / "digits" / str(newest), repository / "digits" / str(newest + 1))
    os.kill(victim, signal.SIGKILL)
    end = time.monotonic() + LONG
    while ") is back" not in (log := pair.stderr.read_text()):
        assert classify(pair.address)
        counted += 1
        assert time.monotonic() < end, log
    shutil.rmtree(repository / "digits" / str(newest + 1))
    assert f"(pid {victim}) ended by SIGKILL; it is started again in 0.1 s" in log
    assert len(workers(pair)) == 2
    assert before - workers(pair) == {victim}
    versions = set()
    for _ in range(32):
        with grpc.insecure_channel(pair.address, OWN) as channel:
            versions.add(digits_pb2_grpc.DigitClassifierStub(channel).Classify(REQUEST, timeout=LONG).model_version)
    assert versions == {str(newest)}
    assert has_counted(pair.address, counted + 32)


@pytest.mark.parametrize(
    ("transport", "stop", "to_all"),
    [("native", signal.SIGINT, True), ("native", signal.SIGTERM, True), ("grpcio", signal.SIGTERM, False)],
    ids=["Ctrl-C in a terminal", "a service manager", "kill"],
)
def test_every_call_in_flight_is_answered_when_it_is_told_to_stop(
    serving: Any, transport: str, stop: signal.Signals, to_all: bool
) -> None:
    """Also where the workers get the signal too, and so are told twice."""
    slow = ("--slow-down-microseconds", 50_000, "--max-batch-size", 2, "--no-warmup")
    with serving("--transport", transport, *TWO, *slow) as server, ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(server.address, OWN)) for _ in range(16)]
        stubs = [digits_pb2_grpc.DigitClassifierStub(channel) for channel in channels]
        calls = [stub.Classify.future(REQUEST, timeout=LONG) for stub in stubs for _ in range(2)]
        calls[0].result()
        processes = workers(server)
        for pid in (*(processes if to_all else ()), server.process.pid):
            os.kill(pid, stop)
        assert all(call.result().digits for call in calls)
        assert server.process.wait(timeout=LONG) == 0
    assert server.stderr.read_text().count("drained: every accepted call is answered") == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_signal_that_comes_twice_at_once_is_one(serving: Any, count: int) -> None:
    """As `timeout` sends it: to the process, and then to the group that it is in."""
    with serving("--workers", count, "--lame-duck", 0.5) as server:
        server.process.send_signal(signal.SIGTERM)
        while "SIGTERM: draining" not in server.stderr.read_text():
            assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=LONG) == 0


def test_a_second_signal_ends_all_at_once(serving: Any) -> None:
    with serving("--workers", 2, "--lame-duck", 3600) as server:
        processes = workers(server)
        for stop in (signal.SIGTERM, signal.SIGINT):
            server.process.send_signal(stop)
        assert server.process.wait(timeout=LONG) == 1
        assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def test_workers_drain_and_end_when_their_supervisor_is_killed(serving: Any) -> None:
    with serving(*TWO) as server:
        ends = [os.pidfd_open(pid) for pid in workers(server)]
        server.process.kill()
        for end in ends:
            assert select.select([end], [], [], LONG)[0]
            os.close(end)
    assert server.stderr.read_text().count("drained: every accepted call is answered") == 2


def test_a_port_that_is_held_is_kept_from_others_and_takes_no_connections() -> None:
    address, sockets = hold("127.0.0.1:0")
    port = int(address.rpartition(":")[2])
    with ExitStack() as stack:
        for held in sockets:
            stack.enter_context(held)
        with pytest.raises(StartError, match="Address already in use"):
            hold(address)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=LONG)


def test_a_name_with_two_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system gives a port that is free at the first of them; here the second is another host's of loopback."""
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    found = [(*kind, ("127.0.0.1", 0)), (*kind, ("127.0.0.2", 0)), (*kind, ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
    address, sockets = hold("name:0")
    names = [held.getsockname() for held in sockets]
    for held in sockets:
        held.close()
    port = int(address.removeprefix("name:"))
    assert port > 0
    assert names == [("127.0.0.1", port), ("127.0.0.2", port)]
