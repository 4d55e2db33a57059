"""The servers that are measured beside each other: how each is started, with which flags, by one name for each."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from digits.benchmarks import echo_server
from digits.benchmarks.peers import aio_server
from digits.benchmarks.process import started
from digits.benchmarks.settings import BASELINE, ECHO, GRPCIO, OURS, SLOWED, SPINNING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from digits.benchmarks.process import ServerProcess

TITLES = {
    OURS: "digits",
    SPINNING: "digits, spinning",
    GRPCIO: "digits, grpcio",
    ECHO: "echo",
    BASELINE: "grpc.aio, fp32",
}
TRANSPORTS = {"native": OURS, "grpcio": GRPCIO}
SERVE = ("digits.cli.app", "serve", "--provider", "cpu", "--lame-duck", "0")
SERVING = "digits: serving"
# By name: the module with its arguments, after which the address comes, and what it prints when it is ready.
MODULES = {
    OURS: ((*SERVE, "--transport", "native", "--address"), SERVING),
    SPINNING: ((*SERVE, "--transport", "native", "--spin-microseconds", "100", "--address"), SERVING),
    GRPCIO: ((*SERVE, "--transport", "grpcio", "--address"), SERVING),
    SLOWED: ((*SERVE, "--transport", "native", "--slow-down-microseconds", "5000", "--address"), SERVING),
    ECHO: (("digits.benchmarks.echo_server",), echo_server.READY),
    BASELINE: (("digits.benchmarks.peers.aio_server",), aio_server.READY),
}


@contextmanager
def serving(name: str, variant: str = "auto", models: Path | None = None) -> Iterator[ServerProcess]:
    """Starts one of them on a free port; ours with a variant of a repository's newest version, by default the box's.

    Raises:
        BenchmarkError: it does not start.
    """
    arguments, ready = MODULES[name]
    address = free_address()
    which = ["--precision", variant, *(["--models", str(models)] if models else [])] if ready == SERVING else []
    with started([sys.executable, "-m", *arguments, address, *which], address, ready) as process:
        yield process


@contextmanager
def all_serving(names: Sequence[str], variant: str) -> Iterator[dict[str, ServerProcess]]:
    """Starts several of them. Raises BenchmarkError if one does not start."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(name, variant)) for name in names}


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
