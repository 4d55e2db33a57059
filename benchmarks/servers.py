"""The servers that are measured beside each other: how each is started, with which flags, by one name for each."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from digits.benchmarks import aio_server, echo_server, triton
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.process import started
from digits.benchmarks.settings import BASELINE, ECHO, GRPCIO, OURS, SLOWED, SPINNING, TRITON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from digits.benchmarks.process import ServerProcess
    from digits.benchmarks.settings import ServerBenchmarkSettings

TITLES = {
    OURS: "digits",
    SPINNING: "digits, spinning",
    GRPCIO: "digits, grpcio",
    ECHO: "echo",
    BASELINE: "grpc.aio, fp32",
    TRITON: triton.TITLE,
}
VARIANT = "int8"  # of ours and of Triton's
SERVE = ("digits.cli.app", "serve", "--precision", VARIANT, "--provider", "cpu", "--lame-duck", "0")
SERVING = "digits: serving"
# By name: the module with its arguments, of which the address is the last, and what it prints when it is ready.
MODULES = {
    OURS: ((*SERVE, "--transport", "native", "--address"), SERVING),
    SPINNING: ((*SERVE, "--transport", "native", "--spin-microseconds", "100", "--address"), SERVING),
    GRPCIO: ((*SERVE, "--transport", "grpcio", "--address"), SERVING),
    SLOWED: ((*SERVE, "--transport", "native", "--slow-down-microseconds", "5000", "--address"), SERVING),
    ECHO: (("digits.benchmarks.echo_server",), echo_server.READY),
    BASELINE: (("digits.benchmarks.aio_server",), aio_server.READY),
}


@contextmanager
def serving(name: str) -> Iterator[ServerProcess]:
    """Starts one of them, Triton aside, on a free port of this host. Raises BenchmarkError if it does not start."""
    arguments, ready = MODULES[name]
    address = _free_address()
    with started([sys.executable, "-m", *arguments, address], address, ready) as process:
        yield process


@contextmanager
def all_serving(settings: ServerBenchmarkSettings, model: Path) -> Iterator[dict[str, ServerProcess]]:
    """Starts those that are asked for; Triton, which serves the model file, is left out in one line if it cannot be."""
    with ExitStack() as stack:
        processes = {name: stack.enter_context(serving(name)) for name in settings.servers if name != TRITON}
        if TRITON in settings.servers:
            try:
                triton.install(settings.cache)
                processes[TRITON] = stack.enter_context(triton.serving(settings.cache, model, _free_address()))
            except (BenchmarkError, OSError) as error:
                print(f"{triton.TITLE} is left out: {error}", flush=True)
        yield processes


def _free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
