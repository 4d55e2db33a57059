"""SIGINT and SIGTERM at every import, at every call of SQLite, and at many moments of a command.

The exit code is 130 or 143, or the command has finished; stderr has one line at most; the same command then completes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from digits.model.repository import Repository
from digits.train.run_folder import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = (sys.executable, "-m", "digits.cli.app")
STOPS = (signal.SIGINT, signal.SIGTERM)
KNOWN = {"cyclopts", "grpc", "numpy", "onnxruntime", "sqlite3"}
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a library's own threads would be missing in a fork

# Runs a command. At every n-th import, and at those of KNOWN, it forks: the child gets a signal there, and runs on to
# its end. Prints JSON, of each: the module, the signal, the exit code and stderr. Forks no more once there are threads,
# or `serve` waits for signals.
AT_EVERY_IMPORT = """
import json, os, runpy, signal, sys

ended, told, parent = [], os.dup(1), os.getpid()
begun = over = False
every, known, seen = int(sys.argv.pop(1)), set(sys.argv.pop(1).split()), 0

def strike(event, arguments):
    global begun, over, seen
    if event != "import":
        return
    begun |= arguments[0] == "digits.cli.streams"  # app.py's first
    blocked = "cyclopts" in sys.modules and signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    over |= blocked or len(os.listdir("/proc/self/task")) > 1
    seen += 1
    if over or not begun or (seen % every and arguments[0] not in known):
        return
    stop, stderr = (signal.SIGINT, signal.SIGTERM)[len(ended) % 2], os.memfd_create("stderr")
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ended.append([arguments[0], stop, code, os.pread(stderr, 10_000, 0).decode()])
        os.close(stderr)
    else:
        over = True
        os.dup2(stderr, 2)
        os.kill(os.getpid(), stop)

os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
sys.addaudithook(strike)
try:
    runpy.run_module("digits.cli.app", run_name="__main__", alter_sys=True)
except SystemExit as end:
    if os.getpid() != parent:
        os._exit(end.code)  # the interpreter's own end takes longer than all the rest
os.write(told, json.dumps(ended).encode())
"""

# Imports all that a command needs, and runs it in one fork after another: a signal comes before and after each call of
# SQLite, one call a fork. Prints JSON: the table of an undisturbed run; and for each signal: which, the exit code and
# stderr, and the exit code and the table of the same command after it.
AT_EVERY_CALL = """
import json, os, signal, sqlite3, sys
del sys.argv[0]
import onnxruntime
from digits.cli.app import main
from digits.client import local
from digits.score import scoring

connect, out = sqlite3.connect, sys.argv[sys.argv.index("--out") + 1]

def run(strike, stop):
    calls, stderr = 0, os.memfd_create("stderr")
    def step():
        nonlocal calls
        calls += 1
        if calls == strike:
            os.kill(os.getpid(), stop)
    def struck(call):
        def around(*arguments, **options):
            step()
            found = call(*arguments, **options)
            step()
            return found
        return around
    class Connection(sqlite3.Connection):
        execute, executemany = struck(sqlite3.Connection.execute), struck(sqlite3.Connection.executemany)
        executescript, close = struck(sqlite3.Connection.executescript), struck(sqlite3.Connection.close)
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = os.pread(stderr, 10_000, 0).decode()
        os.close(stderr)
        return code, said
    os.dup2(stderr, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sqlite3.connect = struck(lambda *arguments, **options: connect(*arguments, factory=Connection, **options))
    try:
        main()
    except SystemExit as end:
        os._exit(77 if calls < strike else end.code)

def table():
    with open(out) as file:
        return file.read()

run(0, 0)
whole, ended, code = table(), [], 0
while code != 77:
    os.unlink(out)
    stop = (signal.SIGINT, signal.SIGTERM)[len(ended) % 2]
    code, said = run(len(ended) + 1, stop)
    again = run(0, 0)[0] if code not in (0, 77) else 0
    ended.append([stop, code, said, again, table()])
print(json.dumps([whole, *ended[:-1]]))
"""


def check_end(stop: int, code: int, stderr: str, *, served: bool = False) -> None:
    """How a command has ended after a signal."""
    assert code in ({0} if served else {0, 128 + stop}), (stop, code, stderr)
    assert "Traceback" not in stderr, stderr
    assert served or len(stderr.splitlines()) <= 1, stderr


@pytest.fixture(scope="module")
def pixels(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty digits: an array takes no processes."""
    file = tmp_path_factory.mktemp("pixels") / "digits.npy"
    np.save(file, data.x_test[:40])
    return file


def at_imports(every: int, known: set[str], *arguments: object) -> list[tuple[str, int, int, str]]:
    """How a command ended that got a signal at every n-th import, or at a known one."""
    command = [sys.executable, "-c", AT_EVERY_IMPORT, str(every), " ".join(known), *map(str, arguments)]
    completed = subprocess.run(command, check=False, capture_output=True, text=True, env=clean() | ALONE)
    assert completed.returncode == 0, completed.stderr
    ended: list[tuple[str, int, int, str]] = json.loads(completed.stdout)
    return ended


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}


@pytest.mark.parametrize("every", [15, pytest.param(1, marks=pytest.mark.slow)])
def test_a_signal_at_any_import_is_answered_as_a_signal(pixels: Path, tmp_path: Path, every: int) -> None:
    """Of a command that imports most of what there is but TensorFlow: numpy, Pillow, gRPC, ONNX Runtime."""
    ended = at_imports(every, KNOWN, "score", pixels, "--out", tmp_path / "table.csv", "--precision", "fp32")
    assert {module for module, *_ in ended} >= KNOWN
    for _, stop, code, stderr in ended:
        check_end(stop, code, stderr)
        assert code == 128 + stop


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_server_that_is_stopped_at_any_import_before_it_blocks_the_signals_ends_with_0(
    tmp_path: Path, every: int
) -> None:
    last = "digits.serve.process.signal_handling"
    ended = at_imports(every, {last}, "serve", "--models", tmp_path / "none")
    assert last in {module for module, *_ in ended}
    for _, stop, code, stderr in ended:
        check_end(stop, code, stderr, served=True)


def test_a_signal_at_any_call_of_sqlite_is_answered_as_a_signal(pixels: Path, tmp_path: Path) -> None:
    arguments = ["digits", "score", str(pixels), "--out", str(tmp_path / "table.csv"), "--precision", "fp32"]
    command = [sys.executable, "-c", AT_EVERY_CALL, *arguments]
    completed = subprocess.run(command, check=True, capture_output=True, text=True, env=clean() | ALONE)
    whole, *ended = json.loads(completed.stdout)
    assert len(ended) > 20
    for stop, code, stderr, again, table in ended:
        check_end(stop, code, stderr)
        assert (again, table) == (0, whole)


def has_begun(pid: int) -> bool:
    """Whether a command is past the first line of app.py: it catches SIGTERM, which Python itself does not."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def moments(count: int, *arguments: object, seconds: float = 0) -> Iterator[tuple[int, int, str]]:
    """Runs a command again and again, and sends a signal, to the process or to its group, at seeded moments.

    Gives the signal, the exit code and stderr of each; what the command has left is the caller's to look at, and, after
    the first, which is undisturbed, to remove. A command that does not end by itself is given `seconds`.
    """
    command, rng = [*COMMAND, *map(str, arguments)], np.random.default_rng(0)
    for number in range(count + 1):
        disturbed = number or seconds
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean(), start_new_session=True
        ) as process:
            while process.poll() is None and not has_begun(process.pid):
                os.sched_yield()
            began, stop = time.monotonic(), STOPS[rng.integers(2)]
            if disturbed:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(0, seconds))
                with suppress(ProcessLookupError):
                    (os.kill, os.killpg)[rng.integers(2)](process.pid, stop)
            _, stderr = process.communicate(timeout=120)
            seconds = seconds or time.monotonic() - began
            yield stop, process.returncode, stderr


@pytest.fixture(scope="module")
def pictures(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1,000 PNG files."""
    folder = tmp_path_factory.mktemp("pictures") / "pictures"
    folder.mkdir()
    for index, digit in enumerate(data.x_test):
        Image.fromarray(digit).save(folder / f"{index:04}.png")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_score_at_200_moments(digits: Digits, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    arguments = ("score", pictures, "--out", out, "--precision", "fp32")
    whole = b""
    for stop, code, stderr in moments(200, *arguments):
        check_end(stop, code, stderr)
        if code:
            completed = digits(*arguments)
            assert completed.returncode == 0, completed.stderr
        whole = whole or out.read_bytes()
        assert out.read_bytes() == whole
        assert [file.name for file in tmp_path.iterdir()] == [out.name]
        out.unlink()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_classify_at_200_moments(pictures: Path) -> None:
    for stop, code, stderr in moments(200, "classify", *sorted(pictures.iterdir())):
        check_end(stop, code, stderr)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("options", [(), ("--workers", 2)])
def test_serve_at_20_moments(options: tuple[object, ...]) -> None:
    """Whether it starts, serves or drains: it ends with 0."""
    arguments = ("serve", "--address", "127.0.0.1:0", "--drain-timeout", 60, *options)
    for stop, code, stderr in moments(20, *arguments, seconds=4):
        check_end(stop, code, stderr, served=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_train_at_20_moments(digits: Digits, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ("train", "--out", run, "--data", "embedded", "--layers", 16, "--epochs", 3)
    for stop, code, stderr in moments(20, *arguments):
        check_end(stop, code, stderr)
        if code:
            completed = digits("train", "--resume", run) if run.exists() else digits(*arguments)
            assert completed.returncode == 0, completed.stderr
        assert read_run(run).report["epochs"] == 3
        shutil.rmtree(run)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_export_at_20_moments(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    arguments = ("export", run_folder, "--models", models, "--int8-agreement", 99, "--int8-accuracy-loss", 1)
    for stop, code, stderr in moments(20, *arguments):
        check_end(stop, code, stderr)
        completed = digits(*arguments)
        assert completed.returncode == 0, completed.stderr
        assert Repository(models).open().manifest.variants.keys() >= {"fp32", "fp16"}
