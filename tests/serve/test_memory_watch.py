"""The native transport, which limits nothing itself, under real attacks: it stays small, no other caller notices."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from digits.protos.digits.v1 import digits_pb2

METHOD = "/digits.v1.DigitClassifier/Classify"
MESSAGE = digits_pb2.ClassifyRequest(pixels=bytes(784)).SerializeToString()
MB = 2**20
LIMIT = 64
NATIVE = ("--transport", "native", "--no-warmup", "--lame-duck", 0)
SLACK = 80  # MB: what arrives between two samples, and the copy that Python gets of a message below the limit
PATIENCE = 120  # seconds: only for what would hang


def memory(server: Any, field: str) -> int:
    """VmRSS or VmHWM of a server, in MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(field))


def ended(server: Any) -> int:
    """The number of connections that the watch has ended."""
    return int(server.stderr.read_text().count(" WARNING digits.serve.process.memory_watch: ended the connection of "))


def check(server: Any, memory_before: int) -> None:
    """Memory is given back and was bounded, and new connections are answered."""
    until(lambda: memory(server, "VmRSS") < memory_before + LIMIT // 2)
    assert memory(server, "VmHWM") < memory_before + LIMIT + SLACK
    until(lambda: is_answered(server.address))


@contextmanager
def calling(address: str) -> Iterator[Callable[[bytes], bytes]]:
    """A connection of its own."""
    with grpc.insecure_channel(
        address, [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    ) as channel:
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
                    answers.append(bool(digits_pb2.ClassifyResponse.FromString(call(MESSAGE)).digits))
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
    with calling(address) as call, pytest.raises(grpc.RpcError) as error:
        call(bytes(300 * MB))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


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
    serving: Any, attack: Callable[[str], None], times: int
) -> None:
    with serving(*NATIVE, "--max-memory", LIMIT) as server:
        before = memory(server, "VmRSS")
        with honest_caller(server.address) as answers:
            for _ in range(times):
                attack(server.address)
        assert all(answers)
        check(server, before)
        assert ended(server) == times
        assert server.drain() == 0


def test_messages_that_are_only_announced_do_not_end_the_server(serving: Any) -> None:
    """The transport reserves 4 GB for each such call: without the watch, 32,000 of them end it."""
    with serving(*NATIVE) as server:
        with ExitStack() as attackers:
            for _ in range(140):
                attackers.enter_context(calls_that_never_end(server.address, announced=2**32 - 1, sent=0))
        until(lambda: is_answered(server.address))  # a connection in the midst of it may be taken for one of them
        assert ended(server) >= 8


def is_answered(address: str) -> bool:
    """Whether a call on a new connection is answered."""
    with calling(address) as call, suppress(grpc.RpcError):
        return bool(call(MESSAGE))
    return False


def test_large_messages_below_the_limit_are_answered(serving: Any) -> None:
    """With a status: they are not requests."""
    with serving(*NATIVE, "--max-memory", LIMIT) as server:
        with honest_caller(server.address) as answers, calling(server.address) as call:
            for _ in range(5):
                with pytest.raises(grpc.RpcError) as error:
                    call(bytes(8 * MB))
                assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert all(answers)
        assert ended(server) == 0


def test_a_unix_socket_is_watched_too(serving: Any, tmp_path: Path) -> None:
    with serving(*NATIVE, "--max-memory", LIMIT, address=f"unix:{tmp_path}/socket") as server:
        before = memory(server, "VmRSS")
        one_message_of_300_mb(server.address)
        check(server, before)
        assert ended(server) >= 1
