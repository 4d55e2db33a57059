"""The warm-up: a server that does not answer its own calls does not start; one that is only slow does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from digits.client import Client
from digits.serve.errors import StartError
from digits.serve.process import warmup
from digits.serve.process.warmup import warm_up
from digits.serve.server import Server
from digits.serve.settings import ServeSettings, WorkerConfiguration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


@pytest.mark.slow
def test_a_slow_server_starts(serving: Callable[..., Any], transport: str) -> None:
    """Its first run takes longer than the warm-up may."""
    slow = ("--slow-down-microseconds", 6_000_000, "--lame-duck", 0)
    with serving("--transport", transport, *slow) as server, Client(server.address) as client:
        assert client.ready(30)
        assert "not warmed up: " in server.stderr.read_text()
