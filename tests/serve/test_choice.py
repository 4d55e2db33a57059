"""Which transport carries the calls, and why: in the log and in GetModel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from digits.client import Client
from digits.serve.settings import ServeSettings
from digits.serve.transport.transport import choose

if TYPE_CHECKING:
    from digits.tests.serve.conftest import Serving

LOCAL = "is reached from this host alone"
OPEN = "is open to a network; --trusted-network or --transport native is faster"


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


def test_the_choice_is_reported(serving: Serving) -> None:
    with serving(address="0.0.0.0:0") as server:
        with Client(f"127.0.0.1:{server.address.rpartition(':')[2]}") as client:
            model = client.model()
        assert (model.transport, model.transport_reason) == ("grpcio", f"0.0.0.0 {OPEN}")
        assert "grpcio carries the calls: 0.0.0.0 is open to a network" in server.stderr.read_text()
        assert ", grpcio, at 0.0.0.0:" in server.ready
