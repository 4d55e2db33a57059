"""Starts: the transport, the warm-up, the line of a ready server, and the one line of one that does not start."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from digits.client import Client
from digits.model.repository import BUNDLED
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.serve.errors import StartError
from digits.serve.process import warmup
from digits.serve.process.warmup import warm_up
from digits.serve.server import Server
from digits.serve.settings import ServeSettings, WorkerConfiguration
from digits.serve.transport.transport import choose

FREE = ("--address", "127.0.0.1:0")
LOCAL = "is reached from this host alone"
OPEN = "is open to a network; --trusted-network or --transport native is faster"


def test_the_ready_line_names_version_provider_precision_transport_and_address(server: Any, transport: str) -> None:
    expected = f"digits: serving digits version 1, int8 on CPUExecutionProvider, {transport}, at {server.address}\n"
    assert server.ready == expected
    assert not server.address.endswith(":0")


def test_a_server_listens_on_a_unix_socket_and_a_second_one_does_not(
    serving: Any, last_line: Callable[..., str], transport: str, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path}/digits.sock"
    with serving("--transport", transport, address=address) as server, grpc.insecure_channel(address) as channel:
        assert server.address == address
        line = last_line("--address", address)
        assert line.startswith(f"digits: cannot listen on {address}: a server listens there")
        request = digits_pb2.ClassifyRequest(pixels=bytes(784))
        assert digits_pb2_grpc.DigitClassifierStub(channel).Classify(request, timeout=30).digits


@pytest.mark.parametrize("workers", [1, 2])
def test_a_flipped_byte_does_not_start(last_line: Callable[..., str], tmp_path: Path, workers: int) -> None:
    models = shutil.copytree(BUNDLED, tmp_path / "models")
    file = next(models.glob("digits/*/model.onnx"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert last_line("--models", models, *FREE, "--workers", workers).startswith(f"digits: {file}: damaged")


@pytest.mark.parametrize(("workers", "host"), [(1, "127.0.0.1"), (1, "localhost"), (2, "localhost")])
def test_a_busy_port_does_not_start(last_line: Callable[..., str], workers: int, host: str) -> None:
    """Not even one that its owner would share; and a name is busy if one of its addresses is."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"{host}:{other.getsockname()[1]}"
        line = last_line("--address", address, "--workers", workers)
    assert line.startswith(f"digits: cannot listen on {address}: Address already in use")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--address", "localhost"), "expected HOST:PORT with a port of 0 to 65535, [IPV6]:PORT or unix:PATH"),
        (("--address", "127.0.0.1:65536"), "expected HOST:PORT"),
        (("--address", "nobody.invalid:1"), "no such host"),
        (("--address", "unix:/no/such/folder/socket"), "there is no folder /no/such/folder"),
        (("--address", "unix:/dev/a", "--workers", 2), "workers cannot share a Unix socket; give HOST:PORT, or --work"),
        ((*FREE, "--provider", "cuda"), "digits: this onnxruntime is built without CUDA"),
        ((*FREE, "--max-memory", 63), "digits: --max-memory 63: expected at least 4 times the --max-message-bytes, 64"),
        ((*FREE, "--default-priority-level", 3), "--default-priority-level 3: expected 1 to 2, the --priority-levels"),
        (("--models", "/proc", *FREE), "/proc/digits: no model version; publish one with `digits export RUN`"),
    ],
)
def test_settings_that_cannot_be_met_do_not_start(
    last_line: Callable[..., str], options: tuple[object, ...], expected: str
) -> None:
    """Nor does an empty repository."""
    assert expected in last_line(*options)


@pytest.mark.parametrize("count", ["0", "-1", "4097", "many"])
def test_workers_are_a_number_or_auto(digits: Any, count: str) -> None:
    for completed in (digits("serve", "--workers", count), digits("serve", env={"DIGITS_WORKERS": count})):
        assert completed.returncode == 2
        (line,) = completed.stderr.splitlines()
        assert line.startswith("digits: Invalid value ")


# The transport


@pytest.mark.parametrize(
    ("address", "more", "name", "reason"),
    [
        ("127.0.0.1:0", {}, "native", f"127.0.0.1 {LOCAL}"),
        ("127.9.9.9:1", {}, "native", f"127.9.9.9 {LOCAL}"),
        ("[::1]:0", {}, "native", f"::1 {LOCAL}"),
        ("localhost:0", {}, "native", f"localhost {LOCAL}"),
        ("unix:/tmp/socket", {}, "native", f"a Unix socket {LOCAL}"),
        ("0.0.0.0:0", {}, "grpcio", f"0.0.0.0 {OPEN}"),
        ("[::]:0", {}, "grpcio", f":: {OPEN}"),
        ("nohost.:1", {}, "grpcio", f"nohost. {OPEN}"),
        ("0.0.0.0:0", {"trusted_network": True}, "native", "--trusted-network"),
        ("0.0.0.0:0", {"transport": "native"}, "native", "asked for"),
        ("127.0.0.1:0", {"transport": "grpcio"}, "grpcio", "asked for"),
    ],
)
def test_native_is_for_trusted_callers(address: str, more: dict[str, Any], name: str, reason: str) -> None:
    choice = choose(ServeSettings(address=address, **more))
    assert (choice.name, choice.reason) == (name, reason)


def test_the_choice_is_reported(serving: Any) -> None:
    with serving(address="0.0.0.0:0") as server:
        with Client(f"127.0.0.1:{server.address.rpartition(':')[2]}") as client:
            model = client.model()
        assert (model.transport, model.transport_reason) == ("grpcio", f"0.0.0.0 {OPEN}")
        assert "grpcio carries the calls: 0.0.0.0 is open to a network" in server.stderr.read_text()
        assert ", grpcio, at 0.0.0.0:" in server.ready


# The warm-up


def test_a_server_that_nobody_can_connect_to_does_not_start(tmp_path: Path, transport: str) -> None:
    """The file of its socket is deleted before it starts."""
    path = tmp_path / "socket"
    server = Server(WorkerConfiguration(ServeSettings(address=f"unix:{path}", transport=transport, lame_duck=0)))  # type: ignore[arg-type] # a parameter
    path.unlink()
    with pytest.raises(StartError, match=rf"does not answer its own call at unix:{path}: UNAVAILABLE: "):
        server.start()
    assert server.drain()


def test_an_error_status_is_a_failure(server: Any) -> None:
    with pytest.raises(StartError, match=rf"own call at {server.address}: NOT_FOUND: .*'nobody' is not found"):
        warm_up(server.address, "nobody", ServeSettings())


def test_a_warmup_that_runs_out_of_time_is_not(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(warmup, "PATIENCE", 0.0)
    warm_up(server.address, "digits", ServeSettings())
    assert "not warmed up: DEADLINE_EXCEEDED" in caplog.text
