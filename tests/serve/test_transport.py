"""Which transport carries the calls, and why: said in the log and by GetModel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from digits.client import Client
from digits.serve.settings import ServeSettings
from digits.serve.transport.choice import choose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("address", "more", "name", "reason"),
    [
        ("127.0.0.1:0", {}, "native", "127.0.0.1 is reached from this host alone"),
        ("127.9.9.9:1", {}, "native", "127.9.9.9 is reached from this host alone"),
        ("[::1]:0", {}, "native", "::1 is reached from this host alone"),
        ("localhost:0", {}, "native", "localhost is reached from this host alone"),
        ("unix:/tmp/socket", {}, "native", "a Unix socket is reached from this host alone"),
        ("0.0.0.0:0", {}, "grpcio", "0.0.0.0 is open to a network; --trusted-network or --transport native is faster"),
        ("[::]:0", {}, "grpcio", ":: is open to a network; --trusted-network or --transport native is faster"),
        ("nohost.:1", {}, "grpcio", "nohost. is open to a network; --trusted-network or --transport native is faster"),
        ("0.0.0.0:0", {"trusted_network": True}, "native", "--trusted-network"),
        ("0.0.0.0:0", {"transport": "native"}, "native", "asked for"),
        ("127.0.0.1:0", {"transport": "grpcio"}, "grpcio", "asked for"),
    ],
)  # fmt: skip
def test_native_is_for_those_who_are_trusted(address: str, more: dict[str, Any], name: str, reason: str) -> None:
    choice = choose(ServeSettings(address=address, **more))
    assert (choice.name, choice.reason) == (name, reason)


def test_the_choice_is_told(serving: Callable[..., Any], models: Path) -> None:
    with serving("--models", models, address="0.0.0.0:0") as server:
        with Client(f"127.0.0.1:{server.address.rpartition(':')[2]}") as client:
            model = client.model()
        assert (model.transport, model.transport_reason.partition(";")[0]) == ("grpcio", "0.0.0.0 is open to a network")
        assert "grpcio carries the calls: 0.0.0.0 is open to a network" in server.stderr.read_text()
        assert ", grpcio, at 0.0.0.0:" in server.ready
