"""Triton's C++ server with its Python backend, from the wheel of nvidia-pytriton."""

from __future__ import annotations

import shutil
import sysconfig
from typing import TYPE_CHECKING

from digits.benchmarks.cells import UINT8
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.peers.environment import PYTHON
from digits.benchmarks.peers.peer import HERE, Peer
from digits.benchmarks.settings import TRITON

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Triton (Python backend)"
PYTRITON = "nvidia-pytriton==0.7.0"
PACKAGES = f"{{environment}}/lib/{PYTHON}/site-packages"
SERVER = "pytriton/tritonserver"  # below the packages
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


def _lay(folder: Path, environment: Path, model: Path, _name: str) -> None:
    """A repository of two models: `digits`, which takes bytes, and `digits_fp32`, which takes floats."""
    _put_stub(environment / "lib" / PYTHON / "site-packages" / SERVER)
    for name, datatype in MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        config = CONFIG.format(name=name, datatype=datatype, model=model.absolute())
        (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
        shutil.copy(HERE / "triton_model.py", folder / name / "1" / "model.py")


def _put_stub(triton: Path) -> None:
    """Lays the stub for this Python where the backend looks for it: the wheel has one for each."""
    name = "triton_python_backend_stub"
    stub = triton / "python_backend_stubs" / PYTHON.removeprefix("python") / name
    place = triton / "backends" / "python" / name
    if not stub.exists():
        raise BenchmarkError(f"{PYTRITON} has no backend for {PYTHON}")
    if not place.exists():
        shutil.copy(stub, place)


PEER = Peer(
    name=TRITON,
    title=TITLE,
    requirements=(PYTRITON,),
    call=UINT8,
    batching="all that wait",
    command=(
        f"{PACKAGES}/{SERVER}/bin/tritonserver",
        "--model-repository={folder}",
        f"--backend-directory={PACKAGES}/{SERVER}/backends",
        *("--grpc-address={host}", "--grpc-port={port}", "--allow-http=false", "--allow-metrics=false"),
    ),
    # The stub is linked to libpython, and finds the environment by the first `python3` of the path.
    variables={"LD_LIBRARY_PATH": f"{sysconfig.get_config_var('LIBDIR')}:{PACKAGES}/nvidia_pytriton.libs"},
    lay=_lay,
)
