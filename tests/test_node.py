"""A stub that Node's own tools make from our .proto, against a real server: the contract holds beyond Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from digits.client import Client
    from digits.tests.conftest import ServerProcess

NODE = Path(__file__).parent / "node"

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the lock file, installed outside of the tree."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(NODE / name, folder)
    completed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=240,
    )
    assert completed.returncode == 0, completed.stderr
    return folder / "node_modules"


@pytest.fixture
def classify(
    node_modules: Path, server: ServerProcess, tmp_path: Path
) -> Callable[[bytes], subprocess.CompletedProcess[str]]:
    """Runs classify.js on these bytes at the server."""

    def run(pixels: bytes) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "pixels"
        file.write_bytes(pixels)
        return subprocess.run(
            ["node", NODE / "classify.js", server.address, file],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"NODE_PATH": str(node_modules)},
            timeout=60,
        )

    return run


def test_node_gets_the_answers_that_python_gets(
    classify: Callable[[bytes], subprocess.CompletedProcess[str]], client: Client, test_digits: NDArray[np.uint8]
) -> None:
    """The same digits, and the same probabilities to the last bit."""
    pixels = test_digits[:200]
    completed = classify(pixels.tobytes())
    assert completed.returncode == 0, completed.stderr
    node = json.loads(completed.stdout)
    python = client.classify(pixels, include_probabilities=True)
    model = client.model()

    assert node["digits"] == python.digits.tolist()
    assert python.probabilities is not None
    assert np.array(node["probabilities"], np.float32).tobytes() == python.probabilities.tobytes()
    assert np.array(node["confidences"], np.float32).tobytes() == python.confidences.tobytes()
    assert node["model_version"] == python.model_version
    assert (node["model"]["name"], node["model"]["version"]) == (model.name, model.version)
    assert node["model"]["labels"] == list(model.labels)
    assert node["model"]["evidence"]["accuracy"] == model.evidence.accuracy
    assert node["model"]["limits"]["max_batch_size"] == model.limits.max_batch_size


def test_node_is_told_what_is_wrong_with_a_request(
    classify: Callable[[bytes], subprocess.CompletedProcess[str]],
) -> None:
    """INVALID_ARGUMENT, which is code 3, and the server's own words."""
    completed = classify(bytes(783))
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert completed.stderr.splitlines()[-1] == (
        "3 INVALID_ARGUMENT: pixels has 783 bytes; expected a positive multiple of 784, one byte a pixel"
    )
