"""Triton's C++ server with its Python backend, from the wheel of nvidia-pytriton, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.process import started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digits.benchmarks.process import ServerProcess

TITLE = "Triton (Python backend)"
PYTRITON = "nvidia-pytriton==0.7.0"  # its dependencies clash with ours: numpy 1, say
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # the environment's is ours
INSTALLED = "installed"  # the file that comes last, and says what
READY = "Started GRPCInferenceService"
MODELS = {"digits": "UINT8", "digits_fp32": "FP32"}  # by name: the type of its pixels
CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 1024
input [ {{ name: "pixels" data_type: TYPE_{datatype} dims: [ 28, 28 ] }} ]
output [ {{ name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
dynamic_batching {{ }}
parameters {{ key: "model_file" value: {{ string_value: "{model}" }} }}
"""


def install(cache: Path) -> None:
    """Makes the environment if it is not there yet. Raises BenchmarkError if it cannot be had."""
    wanted, installed = f"{PYTRITON} {_onnxruntime()} {PYTHON}\n", cache / INSTALLED
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {PYTRITON} into {cache}, a minute or two ...", flush=True)
    pip = [str(cache / "bin" / PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "venv", str(cache)])
    _run([*pip, PYTRITON, _onnxruntime(), "numpy"])
    installed.write_text(wanted, encoding="utf-8")


@contextmanager
def serving(cache: Path, model: Path, address: str) -> Iterator[ServerProcess]:
    """Serves an ONNX file as two models: `digits`, which takes bytes, and `digits_fp32`, which takes floats.

    Raises:
        BenchmarkError: it does not start.
    """
    packages = cache.absolute() / "lib" / PYTHON / "site-packages"
    triton = packages / "pytriton" / "tritonserver"
    _put_stub(triton)
    # The stub is linked to libpython, and finds the environment by the first `python3` of the path.
    libraries = f"{sysconfig.get_config_var('LIBDIR')}:{packages / 'nvidia_pytriton.libs'}"
    environment = {"LD_LIBRARY_PATH": libraries, "PATH": f"{cache.absolute() / 'bin'}:{os.environ['PATH']}"}
    host, _, port = address.rpartition(":")
    with tempfile.TemporaryDirectory() as repository:
        _write_models(Path(repository), model)
        command = [
            str(triton / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={triton / 'backends'}",
            f"--grpc-address={host}",
            f"--grpc-port={port}",
            "--allow-http=false",
            "--allow-metrics=false",
        ]
        with started(command, address, READY, environment) as process:
            yield process


def _put_stub(triton: Path) -> None:
    """Lays the stub for this Python where the backend looks for it: the wheel has one for each."""
    name = "triton_python_backend_stub"
    stub = triton / "python_backend_stubs" / PYTHON.removeprefix("python") / name
    place = triton / "backends" / "python" / name
    if not stub.exists():
        raise BenchmarkError(f"{PYTRITON} has no backend for {PYTHON}")
    if not place.exists():
        shutil.copy(stub, place)


def _write_models(repository: Path, model: Path) -> None:
    for name, datatype in MODELS.items():
        folder = repository / name
        (folder / "1").mkdir(parents=True)
        config = CONFIG.format(name=name, datatype=datatype, model=model.absolute())
        (folder / "config.pbtxt").write_text(config, encoding="utf-8")
        shutil.copy(Path(__file__).with_name("triton_model.py"), folder / "1" / "model.py")


def _onnxruntime() -> str:
    """The same as here, if that is the one for the CPU."""
    try:
        return f"onnxruntime=={version('onnxruntime')}"
    except PackageNotFoundError:
        return "onnxruntime"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 our own
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        raise BenchmarkError(f"{' '.join(command[1:4])} failed: {said}")
