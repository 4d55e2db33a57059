"""The number of cores that a process may use: affinity and cgroup quotas, on real files and in a real cgroup."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from digits.storage.cores import usable_cores

V1 = "33 31 0:30 {top} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2 = "41 31 0:38 {top} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"
OTHER = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755"


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


def tree(root: Path, mount: str, cgroup: str, files: dict[str, str]) -> Path:
    """A folder with proc/ and sys/, as a process in that cgroup sees them."""
    for name, text in {"proc/self/mountinfo": f"{OTHER}\n{mount}\n", "proc/self/cgroup": cgroup, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "cores"), [("max", 8), ("50000", 1), ("100000", 1), ("100001", 2), ("350000", 4), ("1600000", 8)]
)
def test_a_quota_is_rounded_up_and_the_affinity_bounds_it(tmp_path: Path, quota: str, cores: int) -> None:
    files = {"sys/fs/cgroup/pod/cpu.max": f"{quota} 100000\n"}
    assert usable_cores(tree(tmp_path / "v2", V2.format(top="/"), "0::/pod\n", files)) == cores
    folder = "sys/fs/cgroup/cpu,cpuacct/pod"
    values = {"quota": "-1" if quota == "max" else quota, "period": "100000"}
    files = {f"{folder}/cpu.cfs_{name}_us": f"{value}\n" for name, value in values.items()}
    cgroup = "9:pids:/pod\n8:cpu,cpuacct:/pod\n0::/\n"
    assert usable_cores(tree(tmp_path / "v1", V1.format(top="/"), cgroup, files)) == cores


@pytest.mark.parametrize("level", ["", "pod/", "pod/container/"])
def test_a_quota_counts_at_every_level_above_the_process(tmp_path: Path, level: str) -> None:
    files = {f"sys/fs/cgroup/{name}cpu.max": "max 100000\n" for name in ("pod/", "pod/container/")}
    files[f"sys/fs/cgroup/{level}cpu.max"] = "20000 10000\n"
    assert usable_cores(tree(tmp_path, V2.format(top="/"), "0::/pod/container\n", files)) == 2


@pytest.mark.parametrize("cgroup", ["/docker/1", "/docker/1/inner", "/../2"])
def test_a_container_sees_its_own_cgroup_as_the_mount(tmp_path: Path, cgroup: str) -> None:
    """Without a namespace for cgroups, /proc names the host's path, of which only a part is mounted."""
    for number, (text, cores) in enumerate({"300000 100000\n": 3, "many 100000": 8, "max": 8, "100000 0": 8}.items()):
        files = {"sys/fs/cgroup/cpu.max": text}
        assert usable_cores(tree(tmp_path / str(number), V2.format(top="/docker/1"), f"0::{cgroup}\n", files)) == cores
    assert usable_cores(tmp_path / "nothing") == 8


def test_workers_auto_counts_the_quota_of_a_real_cgroup(cgroup: Callable[..., Path]) -> None:
    code = (
        "from digits.serve.settings import ServeSettings; from digits.serve.process.supervisor import count_workers; "
        "print(count_workers(ServeSettings(workers='auto')))"
    )
    folder = cgroup({"cpu.cfs_quota_us": "50000"}, {"cpu.max": "50000 100000"})
    joined = f'echo $$ > {folder}/cgroup.procs && exec {sys.executable} -c "{code}"'
    completed = subprocess.run(["/bin/sh", "-c", joined], check=True, capture_output=True, text=True)
    assert completed.stdout == "1\n"


def test_nothing_else_counts_the_cores() -> None:
    """By affinity alone, or by all cores of the machine."""
    root = Path(__file__).parents[2]
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=root, check=True, capture_output=True, text=True)
    names = ("sched_getaffinity", "cpu_count")
    found = {
        file
        for file in tracked.stdout.split()
        if not file.startswith("tests/") and any(name in (root / file).read_text() for name in names)
    }
    assert found == {"storage/cores.py"}
