"""A server of others, in an environment of its own, with a folder of its own, on this host alone."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.exchange import exchange
from digits.benchmarks.peers.environment import install
from digits.benchmarks.process import started
from digits.benchmarks.servers import free_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from digits.benchmarks.calls import Call
    from digits.benchmarks.process import ServerProcess

HERE = Path(__file__).parent
ASK = 2.0  # seconds that one call may take of a server that is not ready yet


def lay_script(folder: Path, _environment: Path, model: Path, name: str) -> None:
    """Most peers need no more than the model and a script, which their own interpreter runs."""
    shutil.copy(model, folder / "model.onnx")
    shutil.copy(HERE / f"{name}.py", folder / "server.py")


@dataclass(frozen=True, slots=True)
class Peer:
    """What is to be known of one.

    Attributes:
        name: For `--servers`.
        title: For people.
        requirements: What pip installs, pinned; the first of them is the peer.
        call: How it is called: see `Cell`.
        batching: Which calls it runs together, in words.
        command: Of its start, with the fields {environment}, {folder}, {host}, {port} and {other_port}.
        variables: Of its environment, with the same fields.
        lay: Fills its folder, given that, its environment, the model file and its name.
        polls: Whether it takes processor time when nobody calls; it is then held still while ours is measured. Others
            are not: one that learns from its calls' times, as BentoML does, would learn from the pause too.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    call: str
    batching: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    lay: Callable[[Path, Path, Path, str], None] = lay_script
    polls: bool = False

    @property
    def version(self) -> str:
        return self.requirements[0].partition("==")[2]


@contextmanager
def serving(peer: Peer, cache: Path, model: Path, call: Call) -> Iterator[ServerProcess]:
    """Installs it into its folder of the cache if need be, and starts it: it is ready when it answers the call.

    Raises:
        BenchmarkError: it cannot be installed, or does not start.
        OSError: the cache cannot be written.
    """
    environment = (cache / peer.name).absolute()
    install(environment, peer.requirements)
    address = free_address()
    host, _, port = address.rpartition(":")
    with tempfile.TemporaryDirectory(prefix="digits-peer-", ignore_cleanup_errors=True) as folder:
        peer.lay(Path(folder), environment, model, peer.name)
        fields = {"environment": environment, "folder": folder, "host": host, "port": port}
        fields["other_port"] = free_address().rpartition(":")[2]
        command = [part.format(**fields) for part in peer.command]
        variables = {name: value.format(**fields) for name, value in peer.variables.items()}
        variables["PATH"] = f"{environment}/bin:{os.environ['PATH']}"
        variables["ORT_DISABLE_TELEMETRY"] = "1"  # its wheels send some otherwise
        with started(command, address, lambda: _answers(address, call), variables) as process:
            yield process


def _answers(address: str, call: Call) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ASK).close()
        exchange(address, call.method, call.message, call.content_type, ASK)
    except (OSError, BenchmarkError):
        return False
    return True
