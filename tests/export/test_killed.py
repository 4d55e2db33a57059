"""`kill -9` in an export: at every step the versions stay complete, and the next export cleans up."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from digits.images.mnist import Mnist
from digits.model.repository import CONFIG, STAGING, Repository
from digits.model.triton import config_pbtxt

TorchForm = Callable[..., onnx.ModelProto]
Run = Callable[..., list[list[str]] | int]

KILLED = -9
# Imports once, then forks for every export, since the imports take longer. A line of JSON goes in for each: repository,
# file, data, and the step to kill at; a line comes out: all steps if it survived, or else the exit code. A step is
# whatever Python audits of the repository's files and folders: to open, make, list, rename, change or remove one.
EXPORTS = """
import io, json, os, signal, sys
from contextlib import redirect_stdout
from pathlib import Path
import onnxruntime
from digits.export.publishing import export
from digits.export.settings import ExportSettings, ImportSettings
from digits.model.limits import Limits

threads = {open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")}
assert len(threads) == 1, f"a fork would lose threads: {threads}"

def watch(folder, deadly):
    steps = []
    def step(event, arguments):
        paths = [str(argument) for argument in arguments if isinstance(argument, (str, Path))]
        if any(path.startswith(folder) for path in paths):
            steps.append([event, *paths])
            if len(steps) == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(step)
    return steps

for line in sys.stdin:
    models, file, data, deadly = json.loads(line)
    if (child := os.fork()) == 0:
        steps = watch(models, deadly)
        settings = ExportSettings(models=Path(models), data=data, variants=("fp16",))
        with redirect_stdout(io.StringIO()):
            export(Path(file), settings, Limits(), ImportSettings(output="logits"))
        print(json.dumps(steps), flush=True)
        os._exit(0)
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        print(code, flush=True)
"""


@pytest.fixture(scope="module")
def run(torch_form: TorchForm, data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Exports an untrained small network to a repository. Kills the export before a step, counted from 1; 0 is none.

    Gives all steps of an export that was not killed, or else the exit code.
    """
    folder = tmp_path_factory.mktemp("killed")
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.1, shape).astype(np.float32) for shape in ((784, 16), (16, 10))]
    onnx.save(torch_form(weights, [np.zeros(16), np.zeros(10)], (784,)), folder / "model.onnx")
    np.savez(folder / "mnist.npz", x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    alone |= {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # pandas imports pyarrow where it is there
    command, pipe = [sys.executable, "-c", EXPORTS], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | alone) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(models: Path, deadly: int = 0) -> list[list[str]] | int:
            order = json.dumps([str(models), str(folder / "model.onnx"), str(folder / "mnist.npz"), deadly])
            print(order, file=process.stdin, flush=True)
            answer: list[list[str]] | int = json.loads(process.stdout.readline())  # type: ignore[union-attr] # above
            return answer

        yield run


@pytest.fixture(scope="module")
def first(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one version."""
    models = tmp_path_factory.mktemp("first") / "models"
    assert isinstance(run(models), list)
    return models


def strike(run: Run, first: Path, models: Path, deadly: int = 0) -> tuple[list[list[str]] | int, int]:
    """Kills the export of version 2 at a step, and checks what it left and that the next version clears up.

    Returns:
        What `run` gave, and the newest version that it left.
    """
    shutil.copytree(first, models)
    repository = Repository(models)
    ended = run(models, deadly)
    assert repository.versions() in ([1], [1, 2])
    newest = repository.versions()[-1]
    for number in repository.versions():
        repository.open(number)
    assert (repository.folder / CONFIG).read_text() == config_pbtxt(repository.open().manifest)

    with repository.staging() as staged:
        assert [left.name for left in repository.folder.glob(f"{STAGING}*")] == [staged.name]
        for file in (repository.folder / "1").iterdir():
            shutil.copy(file, staged)
        assert repository.publish(staged).number == newest + 1
    assert repository.open().number == newest + 1
    left = {entry.name for entry in repository.folder.iterdir()}
    assert left == {CONFIG, *map(str, range(1, newest + 2))}
    shutil.rmtree(models)
    return ended, newest


def position(steps: list[list[str]], event: str, target: Path) -> int:
    """When that is done, counted from 1."""
    return next(number for number, step in enumerate(steps, 1) if step[0] == event and step[-1] == str(target))


def test_an_export_that_is_killed_leaves_no_half_version(run: Run, first: Path, tmp_path: Path) -> None:
    """At the first step, in the middle, just before the version appears and just after."""
    models = tmp_path / "models"
    steps, newest = strike(run, first, models)
    assert isinstance(steps, list)
    assert newest == 2
    appears = position(steps, "os.rename", models / "digits" / "2")
    configured = position(steps, "os.rename", models / "digits" / CONFIG)
    assert 1 < appears // 2 < appears < configured
    written = [Path(step[1]) for step in steps if step[0] == "open" and step[2:] not in ([], ["r"])]
    assert {file.name for file in written} >= {"model.onnx", "manifest.json.unfinished", "SHA256SUMS.unfinished"}
    for file in written:  # in a staging folder, or under another name, from where it appears by a rename
        assert file.relative_to(models / "digits").parts[0].startswith((STAGING, f"{CONFIG}.unfinished"))
    for deadly, newest in ((1, 1), (appears // 2, 1), (appears, 1), (appears + 1, 2)):
        assert strike(run, first, models, deadly) == (KILLED, newest)


@pytest.mark.slow
def test_there_is_no_step_of_an_export_at_which_a_kill_leaves_a_half_version(
    run: Run, first: Path, tmp_path: Path
) -> None:
    deadly = 0
    ended: list[list[str]] | int = KILLED
    while ended == KILLED:
        deadly += 1
        ended, _ = strike(run, first, tmp_path / "models", deadly)
    assert isinstance(ended, list)
    assert deadly == len(ended) + 1
