"""Starts: the line of a server that is ready, and the one line of a server that does not start."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from digits.model.repository import BUNDLED
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from digits.tests.serve.conftest import Digits, Serving

FREE = ("--address", "127.0.0.1:0")


def test_the_ready_line_names_version_provider_precision_transport_and_address(server: Any, transport: str) -> None:
    expected = f"digits: serving digits version 1, int8 on CPUExecutionProvider, {transport}, at {server.address}\n"
    assert server.ready == expected
    assert not server.address.endswith(":0")


def test_a_server_listens_on_a_unix_socket_and_a_second_one_does_not(
    serving: Serving, last_line: Callable[..., str], transport: str, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path}/digits.sock"
    with serving("--transport", transport, address=address) as server, grpc.insecure_channel(address) as channel:
        assert server.address == address
        line = last_line("--address", address)
        assert line.startswith(f"digits: cannot listen on {address}: a server listens there")
        request = digits_pb2.ClassifyRequest(pixels=bytes(784))
        assert digits_pb2_grpc.DigitClassifierStub(channel).Classify(request, timeout=30).digits


def test_an_empty_repository_does_not_start(last_line: Callable[..., str], tmp_path: Path) -> None:
    line = last_line("--models", tmp_path, *FREE)
    assert line == f"digits: {tmp_path}/digits: no model version; publish one with `digits export RUN`"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_flipped_byte_does_not_start(last_line: Callable[..., str], tmp_path: Path, workers: int) -> None:
    models = shutil.copytree(BUNDLED, tmp_path / "models")
    file = next(models.glob("digits/*/model.onnx"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert last_line("--models", models, *FREE, "--workers", workers).startswith(f"digits: {file}: damaged")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
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
        (
            ("--address", "unix:/dev/socket", "--workers", 2),
            "workers cannot share a Unix socket; give HOST:PORT, or --workers 1",
        ),
        ((*FREE, "--provider", "cuda"), "digits: this onnxruntime is built without CUDA"),
        ((*FREE, "--max-memory", 63), "digits: --max-memory 63: expected at least 4 times the --max-message-bytes, 64"),
        (
            (*FREE, "--default-priority-level", 3),
            "digits: --default-priority-level 3: expected 1 to 2, the --priority-levels",
        ),
    ],
)
def test_settings_that_cannot_be_met_do_not_start(
    last_line: Callable[..., str], options: tuple[object, ...], expected: str
) -> None:
    assert expected in last_line(*options)


@pytest.mark.parametrize("count", ["0", "-1", "4097", "many"])
def test_workers_are_a_number_or_auto(digits: Digits, count: str) -> None:
    for completed in (digits("serve", "--workers", count), digits("serve", env={"DIGITS_WORKERS": count})):
        assert completed.returncode == 2
        (line,) = completed.stderr.splitlines()
        assert line.startswith("digits: Invalid value ")
