"""A transport without limits of its own, under real attacks: it stays small, and other callers notice nothing."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METHOD = "/digits.Test/Echo"
MB = 2**20
LIMIT = 64
SLACK = 80  # MB: what arrives between two samples, and the copy that Python gets of a message below the limit
PATIENCE = 120  # seconds: only for what would hang

SERVER = """
import logging, sys
from threading import Thread
from pygrpc_native import NativeGrpcFront
from digits.serve.process.memory_watch import MemoryWatch

logging.basicConfig(level=logging.WARNING)
target, limit = sys.argv[1:]
front = NativeGrpcFront(target, [("/digits.Test/Echo", False)], io_threads=1, max_concurrent_streams=256)

def answer():
    while (events := front.recv_batch(64)) is not None:
        for _, call, _, payload, _ in events:
            front.respond(call, payload)

Thread(target=answer, daemon=True).start()
front.start()
address = target if target.startswith("unix:") else f"127.0.0.1:{front.bound_port}"
watch = MemoryWatch(address, int(limit) * 2**20)
watch.start()
print(address, flush=True)
sys.stdin.read()
watch.stop()
print(watch.shed, flush=True)
"""


@dataclass(frozen=True)
class Echo:
    """An echo server under the watch."""

    process: subprocess.Popen[str]
    address: str
    stderr: Path

    def memory(self, field: str) -> int:
        """VmRSS or VmHWM, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(field))

    def stop(self) -> int:
        """Ends it, and gives the number of connections that the watch has ended."""
        printed, _ = self.process.communicate(timeout=PATIENCE)
        return int(printed)

    def check(self, memory_before: int) -> None:
        """Memory is given back and was bounded, and new connections are answered."""
        until(lambda: self.memory("VmRSS") < memory_before + LIMIT // 2)
        assert self.memory("VmHWM") < memory_before + LIMIT + SLACK
        until(lambda: is_answered(self.address))


@contextmanager
def echoing(folder: Path, target: str = "127.0.0.1:0", limit: int = LIMIT) -> Iterator[Echo]:
    stderr = folder / "stderr"
    command = [sys.executable, "-c", SERVER, target, str(limit)]
    with (
        stderr.open("w") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, stderr.read_text()
            yield Echo(process, address, stderr)
        finally:
            process.kill()


@contextmanager
def calling(address: str) -> Iterator[Callable[[bytes], bytes]]:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    options.append(("grpc.max_receive_message_length", -1))
    with grpc.insecure_channel(address, options) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        yield lambda message: call(message, timeout=PATIENCE)


@contextmanager
def honest_caller(address: str) -> Iterator[list[bool]]:
    """Calls over and over on one connection; gives whether each call was answered correctly."""
    answers: list[bool] = []
    done = threading.Event()

    def work() -> None:
        with calling(address) as call:
            while not done.wait(0.002):
                try:
                    answers.append(call(b"digit" * 157) == b"digit" * 157)
                except grpc.RpcError:
                    answers.append(False)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        until(lambda: len(answers) >= 20)
        yield answers
        seen = len(answers)
        until(lambda: len(answers) >= seen + 20)
    finally:
        done.set()
        thread.join()


def until(condition: Callable[[], bool]) -> None:
    """Waits; the test's own time limit ends it."""
    while not condition():
        time.sleep(0.01)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEADERS = b"\x83\x86" + field(b":path", METHOD.encode()) + field(b":authority", b"a")
HEADERS += field(b"content-type", b"application/grpc") + field(b"te", b"trailers")


def one_message_of_300_mb(address: str) -> None:
    with calling(address) as call, pytest.raises(grpc.RpcError) as ended:
        call(bytes(300 * MB))
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


def greet(caller: socket.socket) -> None:
    """Sends the client's greeting and reads the server's."""
    caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
    settings = b""
    while frame(8, 0, 0, bytes(4))[:9] not in settings:  # the last frame of the server's greeting: its window
        if not (received := caller.recv(65536)):
            raise ConnectionResetError
        settings += received
    caller.sendall(frame(4, 1, 0))


@contextmanager
def calls_that_never_end(address: str, announced: int, sent: int) -> Iterator[socket.socket]:
    """256 calls on one connection: each announces a message and sends some of it, or as far as the server lets it."""
    host, _, port = address.rpartition(":")
    body = struct.pack(">BI", 0, announced) + bytes(sent)
    pieces = [body[at : at + 16384] for at in range(0, len(body), 16384)]
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as caller:
        with suppress(ConnectionError):  # it may be ended in its greeting already, for what others do
            greet(caller)
            for stream in range(1, 513, 2):
                caller.sendall(frame(1, 4, stream, HEADERS) + b"".join(frame(0, 0, stream, piece) for piece in pieces))
        yield caller


def calls_of_half_a_message(address: str) -> None:
    with calls_that_never_end(address, announced=400_001, sent=400_000) as caller, suppress(ConnectionError):
        while caller.recv(65536):  # until the server ends the connection
            pass


@pytest.mark.parametrize(("attack", "times"), [(one_message_of_300_mb, 1), (calls_of_half_a_message, 3)])
def test_an_attacker_loses_its_connections_and_no_other_caller_notices(
    attack: Callable[[str], None], times: int, tmp_path: Path
) -> None:
    with echoing(tmp_path) as server:
        before = server.memory("VmRSS")
        with honest_caller(server.address) as answers:
            for _ in range(times):
                attack(server.address)
        assert all(answers)
        server.check(before)
        assert server.stop() == times
        logged = server.stderr.read_text().splitlines()
        assert len(logged) == times
        assert all("ended the connection of 127.0.0.1:" in line for line in logged)


def test_messages_that_are_only_announced_do_not_end_the_server(tmp_path: Path) -> None:
    """The transport reserves 4 GB for each such call: without the watch, 32,000 of them end it."""
    with echoing(tmp_path, limit=512) as server:
        with ExitStack() as attackers:
            for _ in range(140):
                attackers.enter_context(calls_that_never_end(server.address, announced=2**32 - 1, sent=0))
        until(lambda: is_answered(server.address))  # a connection in the midst of it may be taken for one of them
        assert server.stop() >= 8


def is_answered(address: str) -> bool:
    """Whether a call on a new connection is answered."""
    with calling(address) as call, suppress(grpc.RpcError):
        return call(b"after") == b"after"
    return False


def test_large_messages_below_the_limit_are_answered(tmp_path: Path) -> None:
    with echoing(tmp_path) as server:
        with honest_caller(server.address) as answers, calling(server.address) as call:
            for _ in range(5):
                assert len(call(bytes(8 * MB))) == 8 * MB
        assert all(answers)
        assert server.stop() == 0


def test_a_unix_socket_is_watched_too(tmp_path: Path) -> None:
    with echoing(tmp_path, f"unix:{tmp_path}/socket") as server:
        before = server.memory("VmRSS")
        one_message_of_300_mb(server.address)
        server.check(before)
        assert server.stop() >= 1
