"""The servers that are started here to be measured: the options of each, by one name for each."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from digits.benchmarks.load.measure import ServerUnderTest
from digits.benchmarks.process import started
from digits.benchmarks.settings import BASELINE, ECHO, GRPCIO, OURS, SLOWED, SPINNING

TITLES = {
    OURS: "digits",
    SPINNING: "digits, spinning",
    GRPCIO: "digits, grpcio",
    ECHO: "echo",
    BASELINE: "grpc.aio, fp32",
    SLOWED: "digits, slowed",
}
TRANSPORTS = {"native": OURS, "grpcio": GRPCIO}
SERVE = ("digits.cli.app", "serve", "--provider", "cpu", "--lame-duck", "0")
SERVING = "digits: serving"
# By name: the module and its arguments, to which the address is appended, and the line that says it is ready.
MODULES = {
    OURS: ((*SERVE, "--transport", "native", "--address"), SERVING),
    SPINNING: ((*SERVE, "--transport", "native", "--spin-microseconds", "100", "--address"), SERVING),
    GRPCIO: ((*SERVE, "--transport", "grpcio", "--address"), SERVING),
    SLOWED: ((*SERVE, "--transport", "native", "--slow-down-microseconds", "5000", "--address"), SERVING),
    ECHO: (("digits.benchmarks.echo_server",), "echo: ready"),
    BASELINE: (("digits.benchmarks.peers.aio_server",), "baseline: ready"),
}


@contextmanager
def serving(name: str, variant: str = "auto", models: Path | None = None) -> Iterator[ServerUnderTest]:
    """Starts one of them on a free port. Ours serves a variant of the newest version, by default of the bundled model.

    Raises BenchmarkError if it does not start.
    """
    arguments, ready = MODULES[name]
    address, is_ours = free_address(), ready == SERVING
    which = ["--precision", variant, *(["--models", str(models)] if models else [])] if is_ours else []
    with started([sys.executable, "-m", *arguments, address, *which], ready) as process:
        yield ServerUnderTest(TITLES[name], address, process, name)


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
