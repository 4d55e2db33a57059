"""Addresses that cannot exist: the client and the server say so alike, and gRPC's own log says nothing."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.client import AddressError, AsyncClient, Client
from digits.serve.address import hold, require_free
from digits.serve.errors import StartError

NOT_HOST_AND_PORT = ["", "nonsense", "localhost:", ":50051", "http://localhost:50051", "grpc://localhost:50051", "::1"]
NOT_HOST_AND_PORT += ["localhost:50051/", "localhost:65536", f"localhost:{5000 * '9'}", "local host:50051", "::1:50051"]
NOT_HOST_AND_PORT += ["localhost:\N{ARABIC-INDIC DIGIT THREE}", "*:0", "*:50051", "[localhost]:50051"]
MALFORMED = dict.fromkeys(NOT_HOST_AND_PORT, "expected HOST:PORT") | {
    "[::::]:50051": "'::::' is not an IP address",
    "unix:": "the path has 0 bytes; expected 1 to 107",
    f"unix:/{107 * 'x'}": "the path has 108 bytes; expected 1 to 107",
    f"unix:{54 * 'é'}": "the path has 108 bytes; expected 1 to 107",
    "unix://relative": "expected unix:PATH or unix:///PATH",
    "unix:/tmp/a%20b": "expected unix:PATH or unix:///PATH",
    "unix:/tmp/a?b": "expected unix:PATH or unix:///PATH",
}
UNREACHABLE = {  # well formed, where a server is to listen, or not one of its forms
    "localhost:0": "with a port of 1 to 65535",
    "dns:///localhost": "expected HOST:PORT",
    "ipv4:127.0.0.1": "expected HOST:PORT",
    "ipv4:localhost:50051": "'localhost' is not an IP address",
    "ipv4:127.0.0.1:50051,127.0.0.1": "expected HOST:PORT",
    "ipv6:127.0.0.1:50051": "'127.0.0.1' is not an IP address",
    "unix-abstract:": "the path has 0 bytes",
}
TARGETS = ["{}", "dns:{}", "dns:///{}", "dns://127.0.0.1:53/{}", "ipv4:{}", "ipv4:///{}", "ipv4:{0},{0}"]
OTHERS = ["my-host_1.example.:1", "[::1]:1", "[fe80::1%eth0]:65535", "ipv6:[::1]:50051,[::2]:50051", "unix-abstract:x"]
OTHERS += ["unix:a b", "unix:///run/digits", f"unix:{107 * 'x'}", "xds:///digits", "vsock:1:50051"]


@pytest.mark.parametrize(("address", "words"), (MALFORMED | UNREACHABLE).items())
def test_a_client_refuses_an_address_that_no_server_can_have_and_a_server_refuses_a_malformed_one(
    address: str, words: str
) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(AddressError) as error:
            kind(address)
        assert isinstance(error.value, ValueError)
        assert str(error.value).startswith(f"address {address!r}: ")
        assert words in str(error.value)
    if address in MALFORMED:
        with pytest.raises(StartError) as refusal:
            require_free(address)
        assert str(refusal.value).startswith(f"--address {address!r}: ")
        assert words in str(refusal.value)
        with pytest.raises(StartError, match="--address"):
            hold(address)


@pytest.mark.parametrize("address", [*(target.format("127.0.0.1:50051") for target in TARGETS), *OTHERS])
def test_a_client_takes_what_grpc_can_reach(address: str) -> None:
    Client(address).close()
    AsyncClient(address)


@pytest.mark.parametrize("target", [target for target in TARGETS if "53" not in target])
def test_a_server_is_reached_by_each_form_of_its_address(
    server: Any, connect: Callable[..., Any], test_digits: NDArray[np.uint8], target: str
) -> None:
    with connect(target.format(server.address)) as client:
        assert len(client.classify(test_digits[:2])) == 2


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("nonsense", ["classify", "digit.png"]),
        ("", ["classify", "digit.png"]),
        (f"unix:/{200 * 'x'}", ["score", "digit.png", "--out", "table.csv"]),
        ("ipv4:localhost:1", ["bench", "server", "--quick"]),
    ],
)
def test_a_command_says_in_one_line_what_is_wrong_with_a_servers_address(
    digits: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, command: list[str], address: str
) -> None:
    """An empty one does not mean that there is no server."""
    (tmp_path / "digit.png").touch()
    completed = digits(*command, "--server", address, cwd=tmp_path, timeout=60)
    assert completed.returncode == 1
    assert completed.stderr.startswith(f"digits: address {address!r}: ")
    assert completed.stderr.count("\n") == 1
