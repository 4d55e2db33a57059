"""The peers by name: their versions, and how each is started. Each listens on this host only, and sends nothing out."""

import shutil
import sysconfig
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, JSON, RAW, UINT8
from digits.benchmarks.peers.peer import PYTHON, SCRIPTS, Peer, lay_script
from digits.benchmarks.settings import BENTOML, KSERVE, LITSERVE, MLSERVER, MOSEC, RAY, TRITON

SCRIPT = ("{environment}/bin/python", "{folder}/server.py")
BATCHED = "up to 64 calls, of at most 1 ms"
PYTRITON = "nvidia-pytriton==0.7.0"  # its wheel contains Triton's C++ server
PACKAGES = f"{{environment}}/lib/{PYTHON}/site-packages"
TRITON_SERVER = "pytriton/tritonserver"  # in the packages
TRITON_MODELS = {"digits": "UINT8", "digits_fp32": "FP32"}  # by name: the type of the pixels
TRITON_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 1024
input [ {{ name: "pixels" data_type: TYPE_{datatype} dims: [ 28, 28 ] }} ]
output [ {{ name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
dynamic_batching {{ }}
parameters {{ key: "model_file" value: {{ string_value: "{model}" }} }}
"""


def _lay_triton(folder: Path, environment: Path, model: Path, _name: str) -> None:
    """A repository of two models: `digits`, which takes bytes, and `digits_fp32`, which takes floats."""
    _put_stub(environment / "lib" / PYTHON / "site-packages" / TRITON_SERVER)
    for name, datatype in TRITON_MODELS.items():
        (folder / name / "1").mkdir(parents=True)
        config = TRITON_CONFIG.format(name=name, datatype=datatype, model=model.absolute())
        (folder / name / "config.pbtxt").write_text(config, encoding="utf-8")
        shutil.copy(SCRIPTS / "triton_model.py", folder / name / "1" / "model.py")
        shutil.copy(SCRIPTS / "onnx_model.py", folder / name / "1")


def _put_stub(triton: Path) -> None:
    """Copies the stub for this Python to where the backend looks for it: the wheel has one for each Python."""
    name = "triton_python_backend_stub"
    stub = triton / "python_backend_stubs" / PYTHON.removeprefix("python") / name
    place = triton / "backends" / "python" / name
    if not stub.exists():
        raise BenchmarkError(f"{PYTRITON} has no backend for {PYTHON}")
    if not place.exists():
        shutil.copy(stub, place)


def _lay_ray(folder: Path, environment: Path, model: Path, name: str) -> None:
    """Our contract too: Ray Serve imports a generated servicer."""
    lay_script(folder, environment, model, name)
    shutil.copytree(SCRIPTS.parents[2] / "protos" / "digits", folder / "digits" / "protos" / "digits")


TRITON_PEER = Peer(
    name=TRITON,
    title="Triton (Python backend)",
    requirements=(PYTRITON,),
    call=UINT8,
    batching="all that wait",
    command=(
        f"{PACKAGES}/{TRITON_SERVER}/bin/tritonserver",
        "--model-repository={folder}",
        f"--backend-directory={PACKAGES}/{TRITON_SERVER}/backends",
        *("--grpc-address={host}", "--grpc-port={port}", "--allow-http=false", "--allow-metrics=false"),
    ),
    # The stub is linked to libpython, and finds the environment by the first `python3` in the path.
    variables={"LD_LIBRARY_PATH": f"{sysconfig.get_config_var('LIBDIR')}:{PACKAGES}/nvidia_pytriton.libs"},
    lay=_lay_triton,
)
KSERVE_PEER = Peer(
    KSERVE, "KServe", ("kserve==0.21.0",), UINT8, "none: another container does it", (*SCRIPT, "{host}:{port}")
)
MLSERVER_PEER = Peer(
    *(MLSERVER, "MLServer", ("mlserver==1.7.1",), UINT8, "none, the default: with it, it was slower"),
    (*SCRIPT, "{host}", "{port}", "{other_port}"),
)
RAY_PEER = Peer(
    *(RAY, "Ray Serve", ("ray[serve]==2.60.0", "protobuf==6.33.6"), CLASSIFY, BATCHED),
    (*SCRIPT, "{port}", "{other_port}"),
    # The second keeps Ray's own ports on the loopback interface, as it does elsewhere by default.
    {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PYTHONPATH": "{folder}"},
    lay=_lay_ray,
    polls=True,
)
MOSEC_PEER = Peer(MOSEC, "mosec", ("mosec==0.9.8",), RAW, BATCHED, (*SCRIPT, "--address", "{host}", "--port", "{port}"))
LITSERVE_PEER = Peer(
    LITSERVE, "LitServe", ("litserve==0.2.19",), RAW, BATCHED, (*SCRIPT, "{host}", "{port}"), polls=True
)
BENTOML_PEER = Peer(
    *(BENTOML, "BentoML", ("bentoml==1.4.40",), JSON),
    "none, the default: with it, a single caller waited for others after a load",
    (
        *("{environment}/bin/bentoml", "serve", "--working-dir", "{folder}"),
        *("--host", "{host}", "--port", "{port}", "server:Classifier"),
    ),
    {"BENTOML_DO_NOT_TRACK": "True"},
)
CATALOGUE = {
    peer.name: peer
    for peer in (TRITON_PEER, KSERVE_PEER, MLSERVER_PEER, RAY_PEER, MOSEC_PEER, LITSERVE_PEER, BENTOML_PEER)
}
