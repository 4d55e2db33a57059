"""The wheel: built through the sdist, installed alone, and used as a serving host would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from digits.images.mnist import Mnist

pytestmark = pytest.mark.slow  # pip installs into new environments
ROOT = Path(__file__).parent.parent
CHECKOUT_ONLY = ("compare", "peers", "report", "results")

# Runs in the fresh environment, away from the checkout.
SMOKE = """
import importlib, json, subprocess, sys
models, picture, *modules = sys.argv[1:]
for module in modules:
    importlib.import_module(module)
command = [sys.executable, "-m", "digits.cli.app"]
with subprocess.Popen([*command, "serve", "--models", models, "--precision", "int8", "--address", "127.0.0.1:0"],
                      stdout=subprocess.PIPE, text=True) as server:
    try:
        address = server.stdout.readline().split()[-1]
        there = subprocess.run([*command, "classify", picture, "--json", "--server", address],
                               check=True, stdout=subprocess.PIPE)
    finally:
        server.terminate()
here, bundled = (subprocess.run([*command, "classify", picture, "--json", *where], check=True, stdout=subprocess.PIPE)
               for where in (["--models", models, "--precision", "int8"], []))
assert here.stdout == there.stdout
assert json.loads(here.stdout)["digit"] == json.loads(bundled.stdout)["digit"]
subprocess.run([*command, "verify", "1", "--models", models], check=True, stdout=subprocess.DEVNULL)
bundled = subprocess.run([*command, "verify", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
# A CPU without VNNI saturates: the bundled int8 model, exported on another host, is rejected there.
assert bundled.returncode == 0 or "on this host golden image" in bundled.stdout + bundled.stderr, bundled
print(json.loads(here.stdout)["digit"])
"""
WITHOUT_TRAIN = ("cli", "client", "images", "model", "protos", "serve")  # imported with [serve] alone


def output(*command: object, **options: Any) -> str:
    """What a command prints that succeeds."""
    words = list(map(str, command))
    completed: subprocess.CompletedProcess[str] = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, **options
    )
    return completed.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git tracks, in a folder without leftovers."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in filter(None, output("git", "ls-files", "-z", cwd=ROOT).split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    output(sys.executable, "-m", "build", "--outdir", dist, source, stderr=subprocess.PIPE, timeout=300)
    (built,) = dist.glob("*.whl")
    return built


@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13"])
def test_the_wheel_alone_serves_on_every_python(
    python: str, wheel: Path, models: Path, data: Mnist, tmp_path: Path
) -> None:
    """Installed with [serve] in an environment of its own."""
    found = shutil.which(python)
    if found is None or subprocess.run([found, "--version"], check=False, capture_output=True).returncode:
        pytest.skip(f"{python} is not installed")
    picture, fresh = tmp_path / "digit.png", tmp_path / "env" / "bin" / "python"
    Image.fromarray(data.x_test[0]).save(picture)
    output(found, "-m", "venv", tmp_path / "env")
    requirement = f"digits-serving[serve] @ file://{wheel}"
    output(fresh, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", requirement, cwd=tmp_path)
    modules = [
        "digits." + ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for package in WITHOUT_TRAIN
        for file in (ROOT / package).rglob("*.py")
        if file != ROOT / "model" / "tensorflow.py"
    ]
    assert int(output(fresh, "-I", "-c", SMOKE, models, picture, *modules, cwd=tmp_path)) == data.y_test[0]


def test_the_wheel_carries_types_and_the_contract(wheel: Path) -> None:
    names = output(sys.executable, "-m", "zipfile", "-l", wheel)
    for name in (
        "digits/model/bundled/digits/config.pbtxt",
        "digits/model/bundled/digits/2/model.int8.onnx",
        "digits/model/bundled/digits/2/SHA256SUMS",
        "digits/train/training.py",
        "digits/export/publishing.py",
        "digits/serve/py.typed",
        "digits/protos/digits/v1/digits.proto",
        "digits/protos/digits/v1/digits_pb2.pyi",
        "digits/benchmarks/server/benchmark.py",
    ):
        assert name in names
    unwanted = ("digits/tests", "digits/__init__.py", *(f"digits/benchmarks/{name}/" for name in CHECKOUT_ONLY))
    assert not [name for name in unwanted if name in names]
