"""A model server of another project, in its own Python environment and folder, reachable from this host only."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import Call
from digits.benchmarks.load.measure import ServerUnderTest
from digits.benchmarks.process import started
from digits.benchmarks.servers import free_address

HERE = Path(__file__).parent
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # of the environments: the same as ours
INSTALLED = "installed"  # the file that is written last, with the requirements
PATIENCE = 900.0  # seconds of one command of the installation
ASK = 2.0  # seconds of one call to a server that is not ready yet


def lay_script(folder: Path, _environment: Path, model: Path, name: str) -> None:
    """Most peers need the model and two scripts, which their own interpreter runs."""
    shutil.copy(model, folder / "model.onnx")
    shutil.copy(HERE / "servers" / f"{name}.py", folder / "server.py")
    shutil.copy(HERE / "servers" / "onnx_model.py", folder)


@dataclass(frozen=True, slots=True)
class Peer:
    """How to install, start and call a peer.

    Attributes:
        name: For `--servers`.
        title: For people.
        requirements: What pip installs, pinned; the first of them is the peer.
        call: The kind of its calls: see `Call`.
        batching: Which calls it runs together, in words.
        command: Starts it; with the fields {environment}, {folder}, {host}, {port} and {other_port}.
        variables: Of its environment, with the same fields.
        lay: Fills its folder, given that, its environment, the model file and its name.
        polls: Whether it takes processor time when nobody calls; it is then paused while ours is measured. Others are
            not: one that learns from the times of its calls, as BentoML does, would learn from the pause too.
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
def serving(peer: Peer, cache: Path, model: Path, call: Call) -> Iterator[ServerUnderTest]:
    """Installs it into its folder of the cache if necessary, and starts it; it is ready when it answers the call.

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
        variables["ORT_DISABLE_TELEMETRY"] = "1"  # otherwise its wheels send some
        with started(command, address, lambda: _answers(address, call), variables) as process:
            print(f"{peer.title} {peer.version}: ready in {process.ready_seconds:.1f} s", flush=True)
            yield ServerUnderTest(peer.title, address, process)


def install(folder: Path, requirements: Sequence[str]) -> None:
    """Makes the environment if it is not there yet, with the same ONNX Runtime as here, and keeps it.

    Raises:
        BenchmarkError: a package cannot be installed.
        OSError: the folder cannot be written.
    """
    packages = [*requirements, _onnxruntime(), "numpy"]
    wanted, installed = f"{' '.join(packages)} {PYTHON}\n", folder / INSTALLED
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {requirements[0]} into {folder}, a minute or two ...", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)], "a Python environment")
    pip = [str(folder / "bin" / PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *packages], requirements[0])
    installed.write_text(wanted, encoding="utf-8")


def _onnxruntime() -> str:
    """The version that is installed here, if it is the one for the CPU."""
    try:
        return f"onnxruntime=={version('onnxruntime')}"
    except PackageNotFoundError:
        return "onnxruntime"


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603 our own
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{what} could not be installed in {PATIENCE:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was printed").splitlines()[-1]
        raise BenchmarkError(f"{what} cannot be installed: {said}")


def _answers(address: str, call: Call) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ASK).close()
        call.require_answer(address, ASK)
    except (OSError, BenchmarkError):
        return False
    return True
