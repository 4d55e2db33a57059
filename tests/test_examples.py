"""Each example, run as its first lines say, on real digits: all of them print what the client library answers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digits.client import Client, Predictions

EXAMPLES = Path(__file__).parent.parent / "examples"
NODE = EXAMPLES / "node"
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # where grpcurl is
DIGITS = 3


@pytest.fixture(scope="module")
def pictures(test_digits: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Test digits as photos: dark on light, and larger."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{i}.png" for i in range(DIGITS)]
    for path, digit in zip(paths, test_digits, strict=False):
        Image.fromarray(255 - digit).resize((140, 140)).save(path)
    return paths


@pytest.fixture
def expected(client: Client, pictures: list[Path]) -> list[str]:
    """The lines that an example should print."""
    found = client.classify(pictures)
    rows = zip(found.digits, found.confidences, pictures, strict=True)
    return [f"{digit}  {confidence:7.2%}  {path}" for digit, confidence, path in rows]


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    words, environment = list(map(str, command)), os.environ | variables
    return subprocess.run(words, check=False, capture_output=True, text=True, env=environment, timeout=120)


def printed(*command: object, **variables: str) -> str:
    """What a command that succeeds prints."""
    completed = run(*command, **variables)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def require_same(answer: dict[str, Any], found: Predictions) -> None:
    """An answer in JSON and one of the client library: the same to the last bit."""
    assert answer["digits"] == found.digits.tolist()
    assert np.array(answer["confidences"], np.float32).tobytes() == found.confidences.tobytes()
    assert found.probabilities is not None
    assert np.array(answer["probabilities"], np.float32).tobytes() == found.probabilities.tobytes()
    assert answer["model_version"] == found.model_version


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_python_example_prints_a_line_for_each_picture(
    server: Any, pictures: list[Path], expected: list[str], example: Path
) -> None:
    assert printed(sys.executable, example, server.address, *pictures).splitlines() == expected


def test_a_stream_goes_on_after_a_file_that_is_not_a_picture(
    server: Any, pictures: list[Path], expected: list[str]
) -> None:
    paths = (pictures[0], __file__, *pictures[1:])
    first, refused, *others = printed(sys.executable, EXAMPLES / "streaming.py", server.address, *paths).splitlines()
    assert [first, *others] == expected
    assert refused.split(maxsplit=1)[1].startswith(f"{__file__}: not a picture")


def test_grpcurl_gets_the_answer_that_python_gets(server: Any, client: Client, pictures: list[Path]) -> None:
    """By reflection, and as JSON, to the last bit."""
    answer = json.loads(printed("sh", EXAMPLES / "grpcurl.sh", server.address, pictures[0], PATH=PATH))
    require_same(answer, client.classify(pictures[0], include_probabilities=True))


def test_grpcurl_describes_every_service(server: Any) -> None:
    lines = printed("grpcurl", "-plaintext", server.address, "describe", PATH=PATH).splitlines()
    services = {line.removesuffix(" is a service:") for line in lines if "is a service" in line}
    reflections = {f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha")}
    classifiers = {"digits.v1.DigitClassifier", "inference.GRPCInferenceService"}
    assert services == {*classifiers, "grpc.health.v1.Health", *reflections}


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the lock file, installed outside of the tree."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(NODE / name, folder)
    printed("npm", "ci", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts")
    return folder / "node_modules"


@pytest.mark.slow
def test_node_prints_a_line_for_each_picture(
    server: Any, node_modules: Path, pictures: list[Path], expected: list[str]
) -> None:
    """Which the server makes digits of."""
    command = ("node", NODE / "classify.js", server.address, *pictures)
    assert printed(*command, NODE_PATH=str(node_modules)).splitlines() == expected


@pytest.mark.slow
def test_node_gets_the_answers_that_python_gets_and_the_same_errors(
    server: Any, client: Client, node_modules: Path, test_digits: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Of raw pixels: the same digits, the same probabilities to the last bit, and what is wrong with a request."""
    file = tmp_path / "digits.raw"
    file.write_bytes(test_digits[:200].tobytes())
    command = ("node", NODE / "classify.js", server.address, "--pixels", file, "--json")
    answer = json.loads(printed(*command, NODE_PATH=str(node_modules)))
    found, model = client.classify(test_digits[:200], include_probabilities=True), client.model()
    require_same(answer, found)
    assert (answer["model"]["name"], answer["model"]["version"]) == (model.name, model.version)
    assert answer["model"]["labels"] == list(model.labels)
    assert answer["model"]["evidence"]["accuracy"] == model.evidence.accuracy
    assert answer["model"]["limits"]["max_batch_size"] == model.limits.max_batch_size
    file.write_bytes(bytes(783))
    completed = run(*command, NODE_PATH=str(node_modules))
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr.splitlines()[-1] == (
        "3 INVALID_ARGUMENT: pixels has 783 bytes; expected a positive multiple of 784, one byte a pixel"
    )
