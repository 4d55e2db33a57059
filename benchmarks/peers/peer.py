"""A model server of another project, in its own Python environment and folder, reachable from this host only."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import Call
from digits.benchmarks.load.measure import ServerUnderTest
from digits.benchmarks.process import started
from digits.benchmarks.servers import free_address

SCRIPTS = Path(__file__).parent / "servers"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # of the environments: the same as ours
INSTALLED = "installed"  # the file that is written last, with the requirements
PATIENCE = 900.0  # seconds of one command of the installation
ASK = 2.0  # seconds of one call to a server that is not ready yet


def lay_script(folder: Path, _environment: Path, model: Path, name: str) -> None:
    """Most peers need the model and two scripts, which their own interpreter runs."""
    for source, to in ((model, "model.onnx"), (SCRIPTS / f"{name}.py", "server.py"), (SCRIPTS / "onnx_model.py", "")):
        shutil.copy(source, folder / to)


@dataclass(frozen=True, slots=True)
class Peer:
    """How to install, start and call a peer."""

    name: str  # for `--servers`
    title: str  # for people
    requirements: tuple[str, ...]  # what pip installs, pinned; the first of them is the peer
    call: str  # the kind of its calls: see `Call`
    batching: str  # which calls it runs together, in words
    command: tuple[str, ...]  # starts it; with the fields {environment}, {folder}, {host}, {port} and {other_port}
    variables: Mapping[str, str] = field(default_factory=dict)  # of its environment, with the same fields
    # Fills its folder, given that, its environment, the model file and its name.
    lay: Callable[[Path, Path, Path, str], None] = lay_script
    # Whether it takes processor time when nobody calls; it is then paused while ours is measured. Others are not: one
    # that learns from the times of its calls, as BentoML does, would learn from the pause too.
    polls: bool = False

    @property
    def version(self) -> str:
        return self.requirements[0].partition("==")[2]


@contextmanager
def peer_serving(peer: Peer, cache: Path, model: Path, call: Call) -> Iterator[ServerUnderTest]:
    """Installs it into its folder of the cache if necessary, and starts it; it is ready when it answers the call.

    Raises:
        BenchmarkError: it cannot be installed, or does not start.
        OSError: the cache cannot be written.
    """
    environment, address = (cache / peer.name).absolute(), free_address()
    _install(environment, peer.requirements)
    host, _, port = address.rpartition(":")
    with tempfile.TemporaryDirectory(prefix="digits-peer-", ignore_cleanup_errors=True) as folder:
        peer.lay(Path(folder), environment, model, peer.name)
        fields = {"environment": environment, "folder": folder, "host": host, "port": port}
        fields["other_port"] = free_address().rpartition(":")[2]
        variables = {name: value.format(**fields) for name, value in peer.variables.items()}
        variables["PATH"] = f"{environment}/bin:{os.environ['PATH']}"
        variables["ORT_DISABLE_TELEMETRY"] = "1"  # otherwise its wheels send some
        command = [part.format(**fields) for part in peer.command]
        with started(command, lambda: _answers(address, call), variables) as process:
            print(f"{peer.title} {peer.version}: ready in {process.ready_seconds:.1f} s", flush=True)
            yield ServerUnderTest(peer.title, address, process, peer.name)


def _install(folder: Path, requirements: tuple[str, ...]) -> None:
    """Makes the environment if it is not there yet, with the same ONNX Runtime as here if that is the CPU's."""
    try:
        onnxruntime = f"onnxruntime=={version('onnxruntime')}"
    except PackageNotFoundError:
        onnxruntime = "onnxruntime"
    packages, installed = [*requirements, onnxruntime, "numpy"], folder / INSTALLED
    wanted = f"{' '.join(packages)} {PYTHON}\n"
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {requirements[0]} into {folder}, a minute or two ...", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(folder / "bin" / PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    for what, command in (
        ("a Python environment", [sys.executable, "-m", "venv", str(folder)]),
        (requirements[0], pip),
    ):
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603 our own
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{what} could not be installed in {PATIENCE:g} s") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing was printed").splitlines()[-1]
            raise BenchmarkError(f"{what} cannot be installed: {said}")
    installed.write_text(wanted, encoding="utf-8")


def _answers(address: str, call: Call) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ASK).close()
        call.require_answer(address, ASK)
    except (OSError, BenchmarkError):
        return False
    return True
