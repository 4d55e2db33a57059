"""A model server of another project, in its own Python environment and folder, reachable from this host only."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import Call
from digits.benchmarks.load.measure import ServerUnderTest
from digits.benchmarks.process import started
from digits.benchmarks.servers import free_address
from digits.benchmarks.settings import RAY, TRITON

HERE = Path(__file__).parent
SCRIPTS = HERE / "servers"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # of the environments: the same as ours
INSTALLED = "installed"  # the file that is written last, with the requirements
PATIENCE = 900.0  # seconds of one command of the installation
ASK = 2.0  # seconds of one call to a server that is not ready yet
TRITON_MODELS = {"digits": "UINT8", "digits_fp32": "FP32"}  # by name: the type of the pixels
STUB = "triton_python_backend_stub"


class Peer(NamedTuple):
    """How to install, start and call a peer: see catalogue.toml."""

    name: str  # for `--servers`
    title: str  # for people
    requirements: list[str]
    call: str
    batching: str
    command: list[str]  # with the fields {environment}, {packages}, {folder}, {host}, {port}, {other_port}, {libpython}
    variables: Mapping[str, str] = MappingProxyType({})  # of its environment, with the same fields
    polls: bool = False

    @property
    def version(self) -> str:
        return self.requirements[0].partition("==")[2]


_PEERS = tomllib.loads((HERE / "catalogue.toml").read_text(encoding="utf-8"))
CATALOGUE = {name: Peer(name, **described) for name, described in _PEERS.items()}


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
        packages = environment / "lib" / PYTHON / "site-packages"
        _lay(peer, Path(folder), packages, model)
        fields = {"environment": environment, "packages": packages, "folder": folder, "host": host, "port": port}
        fields |= {"other_port": free_address().rpartition(":")[2], "libpython": sysconfig.get_config_var("LIBDIR")}
        variables = {name: value.format(**fields) for name, value in peer.variables.items()}
        variables["PATH"] = f"{environment}/bin:{os.environ['PATH']}"
        variables["ORT_DISABLE_TELEMETRY"] = "1"  # otherwise its wheels send some
        command = [part.format(**fields) for part in peer.command]
        with started(command, lambda: _answers(address, call), variables) as process:
            print(f"{peer.title} {peer.version}: ready in {process.ready_seconds:.1f} s", flush=True)
            yield ServerUnderTest(peer.title, address, process, peer.name)


def _lay(peer: Peer, folder: Path, packages: Path, model: Path) -> None:
    """Fills its folder: most peers need the model and two scripts, which their own interpreter runs."""
    if peer.name == TRITON:
        _lay_triton(folder, packages / "pytriton" / "tritonserver", model)
        return
    shutil.copy(model, folder / "model.onnx")
    shutil.copy(SCRIPTS / f"{peer.name}.py", folder / "server.py")
    shutil.copy(SCRIPTS / "onnx_model.py", folder)
    if peer.name == RAY:  # imports the generated servicer of our contract
        shutil.copytree(HERE.parents[1] / "protos" / "digits", folder / "digits" / "protos" / "digits")


def _lay_triton(folder: Path, triton: Path, model: Path) -> None:
    """A repository of two models, and the stub for this Python where the backend looks for it."""
    stub, place = (
        triton / name / STUB for name in (f"python_backend_stubs/{PYTHON.removeprefix('python')}", "backends/python")
    )
    if not stub.exists():
        raise BenchmarkError(f"{CATALOGUE[TRITON].requirements[0]} has no backend for {PYTHON}")
    if not place.exists():
        shutil.copy(stub, place)
    config = (SCRIPTS / "triton.pbtxt").read_text(encoding="utf-8")
    for name, datatype in TRITON_MODELS.items():
        scripts = folder / name / "1"
        scripts.mkdir(parents=True)
        filled = config.format(name=name, datatype=datatype, model=model.absolute())
        (folder / name / "config.pbtxt").write_text(filled, encoding="utf-8")
        shutil.copy(SCRIPTS / "triton_model.py", scripts / "model.py")
        shutil.copy(SCRIPTS / "onnx_model.py", scripts)


def _install(folder: Path, requirements: list[str]) -> None:
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
    venv = [sys.executable, "-m", "venv", str(folder)]
    for what, command in (("a Python environment", venv), (requirements[0], pip)):
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
