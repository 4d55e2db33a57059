"""Real processes, a real model, real digits: what every test starts from."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import socket
import subprocess
import sys
import warnings
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper
from sklearn.neural_network import MLPClassifier

import digits as namespace
from digits.client import Client
from digits.images import mnist
from digits.storage.lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

# Tests import what others draw or start by the name that mypy knows: digits.tests.images.test_photos.
namespace.__path__ = [*namespace.__path__, str(Path(__file__).parent.parent)]

# A shell lets what it starts in the background ignore Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Files whose tests take longest: begun last, one would be alone in the end.
LONGEST = [
    Path(__file__).parent / name
    for name in (
        "train/test_train.py",
        "test_documents.py",
        "lab/test_sweep.py",
        "benchmarks/test_parity.py",
        "benchmarks/test_server.py",
    )
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path) if item.path in LONGEST else len(LONGEST))


COMMAND = (sys.executable, "-m", "digits.cli.app")


# TensorFlow writes to stderr while it is imported, on any CPU. No command lets it through.
LOUD = {"PYTHONPATH": str(Path(__file__).parent / "loud"), "TF_ENABLE_ONEDNN_OPTS": "1"}


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without the DIGITS_* variables of the user who runs the tests; TensorFlow is loud in it."""
    kept = os.environ.keys() - digits_variables(os.environ).keys() - {"PYTEST_CURRENT_TEST"}
    return {name: os.environ[name] for name in kept} | LOUD | more


def digits_variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("DIGITS_")}


@pytest.fixture
def environment() -> dict[str, str]:
    return clean_environment()


class WarmProcess:
    """Runs commands in forks of one process, which has imported what the commands before have imported."""

    def __init__(self) -> None:
        self._environment = clean_environment()
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "warm_process.py", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        theirs.close()

    def close(self) -> None:
        self._link.close()
        self._process.wait()

    def takes(self, env: dict[str, str], options: Iterable[str]) -> bool:
        """Whether a fork does for a command: libraries read other variables than DIGITS_* when they are imported."""
        return env == self._environment | digits_variables(env) and set(options) <= {"cwd", "timeout"}

    def run(
        self, arguments: list[str], env: dict[str, str], cwd: Path | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with captured text."""
        request = json.dumps({"arguments": arguments, "env": env, "cwd": str(cwd or Path.cwd())}).encode()
        with ExitStack() as stack:
            out, err, imported = (stack.enter_context(open(os.memfd_create(name), "r+")) for name in "oei")  # noqa: PTH123
            for file in (out, err):
                fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
            socket.send_fds(self._link, [request], [file.fileno() for file in (out, err, imported)])
            child = int.from_bytes(self._link.recv(4))
            try:
                self._link.settimeout(timeout)
                code = int.from_bytes(self._link.recv(4), signed=True)
            except BaseException:
                os.kill(child, signal.SIGKILL)
                self._link.settimeout(None)
                self._link.recv(4)
                raise
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


@pytest.fixture(scope="session")
def warm_process() -> Iterator[WarmProcess]:
    process = WarmProcess()
    yield process
    process.close()


@pytest.fixture(scope="session")
def digits(warm_process: WarmProcess) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line; `env` adds variables. What it printed is in the result."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, setup: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        words, environment = [str(argument) for argument in arguments], clean_environment(**(env or {}))
        if not setup and warm_process.takes(environment, options):
            completed = warm_process.run(words, environment, **options)
        else:
            command = [*after(setup), *COMMAND, *words]
            completed = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, **options)
        assert "TensorFlow is imported" not in completed.stderr, completed.stderr
        assert "oneDNN" not in completed.stderr, completed.stderr
        return completed

    return run


def after(setup: str) -> list[str]:
    """What a command line begins with for its process to run shell text first."""
    return ["/bin/sh", "-c", f'{setup} && exec "$@"', "sh"] if setup else []


class Interrupting(io.StringIO):
    """Standard output that sends this process a signal when a text is written to it."""

    def __init__(self, text: str, stop: signal.Signals) -> None:
        super().__init__()
        self._text, self._stop = text, stop

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._text in text:
            signal.raise_signal(self._stop)
        return written


@pytest.fixture(scope="session")
def interrupting() -> type[Interrupting]:
    return Interrupting


@pytest.fixture
def cgroup() -> Iterator[Callable[..., Path]]:
    """Makes a real cgroup with the first of several sets of limits that this machine has files for, or skips."""
    with ExitStack() as stack:

        def make(*limits: dict[str, str]) -> Path:
            for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
                folder = root / f"digits-{os.getpid()}"
                with suppress(OSError):
                    folder.mkdir()
                    stack.callback(folder.rmdir)
                    for values in limits:
                        if all((folder / name).exists() for name in values):
                            for name, value in values.items():
                                (folder / name).write_text(value)
                            return folder
            pytest.skip("no cgroup with these limits can be made here: it takes root and a writable /sys/fs/cgroup")

        yield make


@dataclass(frozen=True)
class ServerProcess:
    """A `digits serve` that is ready."""

    process: subprocess.Popen[str]
    ready: str  # the line it printed
    address: str
    stderr: Path

    def drain(self) -> int:
        """Ends it as an operator would, and gives the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def starting(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Starts the command line as a context, which kills it in the end: gives the process and its stderr's file.

    `setup` is shell text that its process runs first, such as `ulimit -v 1500000`.
    """

    @contextmanager
    def start(*arguments: object, setup: str = "") -> Iterator[tuple[subprocess.Popen[str], Path]]:
        stderr = tmp_path_factory.mktemp("process") / "stderr"
        command = [*after(setup), *COMMAND, *map(str, arguments)]
        with (
            stderr.open("w") as log,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=clean_environment()
            ) as process,
        ):
            try:
                yield process, stderr
            finally:
                process.kill()

    return start


@pytest.fixture(scope="session")
def serving(starting: Callable[..., Any]) -> Callable[..., Any]:
    """Starts a server of one's own as a context, on a free port unless told otherwise."""

    @contextmanager
    def start(*arguments: object, address: str = "127.0.0.1:0", setup: str = "") -> Iterator[ServerProcess]:
        with starting("serve", "--address", address, *arguments, setup=setup) as (process, stderr):
            ready = process.stdout.readline()
            assert ready, stderr.read_text()
            yield ServerProcess(process, ready, ready.split()[-1], stderr)

    return start


@pytest.fixture(scope="session")
def data() -> Mnist:
    """The embedded digits: 4,000 to train, 1,000 to test."""
    return mnist.load("embedded")


@pytest.fixture(scope="session")
def test_digits(data: Mnist) -> NDArray[np.uint8]:
    """The embedded test digits, uint8 [1000, 28, 28]."""
    return data.x_test


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once for all workers of pytest-xdist, under the folder's lock."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def training(digits: Callable[..., subprocess.CompletedProcess[str]], shared: Path) -> tuple[Path, str]:
    """A run with the default settings on the embedded digits: its folder, and what it printed."""
    folder, printed = shared / "run", shared / "printed.txt"
    with locked(shared, wait=True):
        if not printed.exists():
            completed = digits("train", "--out", folder, "--data", "embedded")
            assert completed.returncode == 0, completed.stderr
            printed.write_text(completed.stdout)
    return folder, printed.read_text()


@pytest.fixture(scope="session")
def run_folder(training: tuple[Path, str]) -> Path:
    return training[0]


@pytest.fixture(scope="session")
def models(digits: Callable[..., subprocess.CompletedProcess[str]], run_folder: Path, shared: Path) -> Path:
    """A repository with that run as version 1; its int8 may err more than usual, since 1,000 test images are few."""
    folder = shared / "models"
    with locked(shared, wait=True):
        if not folder.exists():
            completed = digits(
                "export", run_folder, "--models", folder, "--int8-agreement", 99, "--int8-accuracy-loss", 1
            )
            assert completed.returncode == 0, completed.stderr
    return folder


@pytest.fixture(scope="session", params=["native", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    """What carries the calls: each test of the server's behaviour runs over both."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(serving: Callable[..., Any], models: Path, transport: str) -> Iterator[ServerProcess]:
    """A server of that version with the default settings, but for the choices of variant and transport."""
    with serving("--models", models, "--precision", "int8", "--transport", transport) as process:
        yield process


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="session")
def classifier(data: Mnist) -> Any:
    """A classifier of scikit-learn's, 784 - 64 ReLU - 32 ReLU - 10, on pixels of 0 to 1."""
    model = MLPClassifier((64, 32), max_iter=12, random_state=0, early_stopping=True)
    with warnings.catch_warnings(action="ignore"):  # it could be trained for longer
        return model.fit(data.x_train.reshape(-1, 784) / np.float32(255), data.y_train)


@pytest.fixture(scope="session")
def torch_form() -> Callable[..., onnx.ModelProto]:
    """Makes models in PyTorch's form."""
    return _torch_form


def _torch_form(
    weights: list[NDArray[np.float32]],
    biases: list[NDArray[np.float32]],
    shape: tuple[int, ...],
    *,
    activation: str = "Relu",
    ending: str | None = None,
) -> onnx.ModelProto:
    """What `torch.onnx.export` makes of Flatten and Linear layers: Gemm with transB, activations between, logits."""
    nodes, rows, last = "rows = Flatten (image)", "rows", len(weights) - 1
    for i in range(last):
        nodes += f" s{i} = Gemm <transB = 1> ({rows}, w{i}, b{i}) a{i} = {activation} (s{i})"
        rows = f"a{i}"
    nodes += f" logits = Gemm <transB = 1> ({rows}, w{last}, b{last})"
    nodes += f" answer = {ending} <axis = 1> (logits)" if ending else ""
    given, answer = ",".join(map(str, ("N", *shape))), "answer" if ending else "logits"
    signature = f"main_graph (float[{given}] image) => (float[N,10] {answer})"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {signature} {{ {nodes} }}')
    arrays = {f"w{i}": weight.T for i, weight in enumerate(weights)} | {f"b{i}": bias for i, bias in enumerate(biases)}
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
    return model
