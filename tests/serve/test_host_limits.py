"""What the host allows: limits of processes and memory, a read-only file system. One line says what is missing."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from digits.client import Client
from digits.model.repository import BUNDLED
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

Pixels = NDArray[np.uint8]
Cgroup = Callable[..., Path]

CALLERS = 16
FREE = ("--address", "127.0.0.1:0", "--transport")


def check_answers(address: str, digits: Pixels) -> None:
    """It answers 16 concurrent callers, a stream, and those who ask for its health."""
    with Client(address, timeout=60) as client, ThreadPoolExecutor(CALLERS) as pool:
        each = list(pool.map(lambda digit: client.classify(digit).digits[0], digits[:64]))
        assert client.ready(30)
    with grpc.insecure_channel(address) as channel:
        request = digits_pb2.ClassifyStreamRequest(request=digits_pb2.ClassifyRequest(pixels=digits[0].tobytes()))
        (answer,) = digits_pb2_grpc.DigitClassifierStub(channel).ClassifyStream(iter([request]), timeout=60)
        assert answer.response.digits == [each[0]]


@pytest.mark.parametrize("limit", [64, 100])
def test_it_answers_under_a_limit_of_processes(
    serving: Any, cgroup: Cgroup, transport: str, limit: int, test_digits: Pixels
) -> None:
    folder = cgroup({"pids.max": str(limit)})
    with serving("--transport", transport, setup=f"echo $$ > {folder}/cgroup.procs") as server:
        check_answers(server.address, test_digits)
        assert "limits of this process leave " in server.stderr.read_text()
        assert server.drain() == 0


def test_too_few_processes_are_one_line_and_what_it_advises_is_enough(
    last_line: Callable[..., str], serving: Any, cgroup: Cgroup, transport: str
) -> None:
    folder = cgroup({"pids.max": "30"})
    line = last_line(*FREE, transport, setup=f"echo $$ > {folder}/cgroup.procs")
    found = re.fullmatch(r"digits: there is room for (\d+) more threads, and a server needs (\d+): raise .*", line)
    assert found, line
    room, needed = map(int, found.groups())
    (folder / "pids.max").write_text(str(30 + needed - room))
    with serving("--transport", transport, setup=f"echo $$ > {folder}/cgroup.procs"):
        pass


def test_it_answers_within_an_address_space_of_1500_megabytes(
    serving: Any, transport: str, test_digits: Pixels
) -> None:
    with serving("--transport", transport, setup="ulimit -v 1500000") as server:
        check_answers(server.address, test_digits)
        assert server.drain() == 0


@pytest.mark.parametrize("letter", ["v", "d"])
def test_too_little_memory_is_one_line_and_what_it_advises_is_enough(
    last_line: Callable[..., str], serving: Any, transport: str, letter: str
) -> None:
    line = last_line(*FREE, transport, setup=f"ulimit -{letter} 1000000")
    assert line.startswith(f"digits: memory is limited to 1024000000 bytes (ulimit -{letter}), and a server needs ")
    needed = int(line.split("a server needs ")[1].split(":")[0])
    advice = f"ulimit -{letter} {-(-needed // 1024)}"
    assert f"give it `{advice}` or more" in line
    with serving("--transport", transport, setup=advice) as server, Client(server.address) as client:
        assert client.ready(30)


def test_calls_wait_for_the_existing_threads_if_no_other_can_be_started(
    serving: Any, cgroup: Cgroup, test_digits: Pixels
) -> None:
    """If other processes take their place after the start, the server goes on answering."""
    folder = cgroup({"pids.max": "max"})
    slow = ("--slow-down-microseconds", 100_000, "--max-batch-size", 1, "--no-warmup")
    with serving("--transport", "grpcio", *slow, setup=f"echo $$ > {folder}/cgroup.procs") as server:
        (folder / "pids.max").write_text("1")
        message = digits_pb2.ClassifyRequest(pixels=test_digits[0].tobytes())
        with grpc.insecure_channel(server.address) as channel:
            stub = digits_pb2_grpc.DigitClassifierStub(channel)
            calls = [stub.Classify.future(message, timeout=60) for _ in range(CALLERS)]
            assert all(call.result().digits for call in calls)
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as error:  # a stream takes a thread of its own
                next(stub.ClassifyStream(iter([]), timeout=60))
            assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# A read-only file system


SHARED_MEMORY = "/dev/shm"  # noqa: S108 mounted, where others are read-only
NOBODY = 65534
REMOUNT = """
while read -r _ _ _ _ point _; do
  [ "$point" = "{writable}" ] || mount -o remount,bind,ro "$point" 2>/dev/null
done < /proc/self/mountinfo
exec "$@"
"""
UNSHARE = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
CONNECT = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
for path in sys.argv[2:]:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
            print("connected")
        except OSError as error:
            print(type(error).__name__)
"""


def read_only(writable: str = "") -> str:
    """Shell text after which its process sees all file systems as read-only, except the one mounted at a folder."""
    if writable and not Path(writable).is_mount():
        pytest.skip(f"{writable} is not a file system of its own here, and so cannot be the only writable one")
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here: it takes unshare, and root or user namespaces")
    return f'exec {shlex.join([*UNSHARE, "/bin/sh", "-c", REMOUNT.format(writable=writable), "sh"])} "$@"'


@pytest.mark.parametrize("more", [(), ("--no-warmup",), ("--workers", 2)])
@pytest.mark.parametrize(("transport", "writable"), [("native", SHARED_MEMORY), ("grpcio", "")])
def test_native_needs_only_shared_memory_to_be_writable_and_grpcio_nothing(
    serving: Any, transport: str, writable: str, more: tuple[object, ...], test_digits: Pixels
) -> None:
    """As in a container with a read-only root."""
    with serving("--transport", transport, *more, setup=read_only(writable)) as server:
        with Client(server.address) as client:
            assert client.classify(test_digits[0]).digits.size == 1
        assert server.drain() == 0


def test_if_no_folder_is_writable_the_start_says_which_were_tried(
    last_line: Callable[..., str], tmp_path: Path
) -> None:
    where = ("--address", "127.0.0.1:0", "--transport", "native", "--runtime-dir", tmp_path / "none")
    line = last_line(*where, env={"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}, setup=read_only())
    assert line.startswith("digits: no writable folder for a private socket in ")
    assert f"{tmp_path}/none (No such file or directory), {tmp_path} (Read-only file system), /tmp (" in line
    assert line.endswith("; give one by --runtime-dir")


# The private socket's folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_reach_the_private_socket(serving: Any, open_folder: Path) -> None:
    """That user can reach other sockets there."""
    with socket.socket(socket.AF_UNIX) as public:
        public.bind(str(open_folder / "public"))
        (open_folder / "public").chmod(0o777)
        public.listen()
        with serving("--transport", "native", "--runtime-dir", open_folder) as server:
            (private,) = open_folder.glob("digits-*/*")
            assert private.is_socket()
            assert private.parent.stat().st_mode & 0o777 == 0o700
            command = [sys.executable, "-c", CONNECT, str(NOBODY), str(open_folder / "public"), str(private)]
            completed = subprocess.run(command, check=True, capture_output=True, text=True)
            assert server.drain() == 0
    assert completed.stdout.split() == ["connected", "PermissionError"]
    assert not list(open_folder.glob("digits-*"))


# Other commands


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("score", BUNDLED / "digits/2/golden.npz", "--out", "{}/table.csv"), "--out"),
        pytest.param(("train", "--out", "{}/runs/first"), "--out", marks=pytest.mark.slow),
        pytest.param(("sweep", "--out", "{}/sweep"), "--out", marks=pytest.mark.slow),
        (("models", "prune", "--keep", "1", "--models", "{}"), "--models"),
        (("bench", "report", "--results", "{}/results"), "--results"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_that_must_write_names_the_folder_and_the_option(
    digits: Any, tmp_path: Path, command: tuple[object, ...], option: str
) -> None:
    shutil.copytree(BUNDLED / "digits", tmp_path / "digits")
    shutil.copytree(tmp_path / "digits/2", tmp_path / "digits/3")
    shutil.copytree(Path(__file__).parents[2] / "benchmarks/results", tmp_path / "results")
    arguments, env = (str(each).format(tmp_path) for each in command), {"TMPDIR": SHARED_MEMORY}
    completed = digits(*arguments, setup=read_only(SHARED_MEMORY), env=env, timeout=120)
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    line = completed.stderr.splitlines()[-1]
    assert f"the folder {tmp_path}" in line
    assert f" is not writable; give another {option}" in line
