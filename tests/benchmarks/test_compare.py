"""`digits bench compare`: it measures the build that it says, finds a slower one, and keeps the pairs it has."""

import json
import os
import re
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from digits.benchmarks.compare.build import opened
from digits.benchmarks.errors import BenchmarkError

Digits = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
# In the batcher's loop: after each batch its thread is busy for a share of the processor time that the batch took.
LOOP = "            source.ran(*self.answer(jobs))\n"
BUSY = """\
            began = time.thread_time()
            images, seconds = self.answer(jobs)
            ended = time.thread_time()
            while time.thread_time() < ended + {share} * (ended - began):
                pass
            source.ran(images, seconds)
"""
# The rate of 64 images a call, where the model is the limit, falls to 1 / 1.176, which is 0.85; that of single images,
# of which half is the transport's, by half as much.
SLOWER_BY_15_PERCENT = 0.176
FEW = ("--pairs", 5)
SHORT = ("--pairs", 45)  # 25 seconds


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `digits`, copied from the checkout: a build."""
    root = tmp_path_factory.mktemp("build")
    for typed in ROOT.glob("*/py.typed"):
        package = typed.parent
        shutil.copytree(package, root / "digits" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def changed(packages: Path, to: Path, file: str, old: str, new: str) -> Path:
    """Another build, with a change in one of its files."""
    shutil.copytree(packages, to, ignore=shutil.ignore_patterns("__pycache__"))
    text = (to / "digits" / file).read_text(encoding="utf-8")
    assert old in text
    (to / "digits" / file).write_text(text.replace(old, new), encoding="utf-8")
    return to


def slowed(packages: Path, to: Path, share: float) -> Path:
    return changed(packages, to, "serve/batcher.py", LOOP, BUSY.format(share=share))


@pytest.fixture(scope="module")
def wheel(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("wheel") / "digits-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for source in packages.rglob("*"):
            archive.write(source, source.relative_to(packages))
    return file


def test_the_code_of_the_build_is_what_runs(packages: Path, wheel: Path, tmp_path: Path) -> None:
    """Not that of this checkout, which is installed too: a module that the build lacks is not taken from it."""
    for path in (packages, wheel, ROOT):
        with opened(path) as build:
            assert (build.root / "digits" / "cli" / "app.py").is_file()
    with opened(wheel) as build:
        assert not build.root.is_relative_to(ROOT)
    assert not build.root.exists()
    lacking = shutil.copytree(packages, tmp_path / "lacking")
    shutil.rmtree(lacking / "digits" / "model")
    says = r"lacking: (lacks a module; .*|cannot be imported: .*)"
    with pytest.raises(BenchmarkError, match=says), opened(lacking):
        pass


def test_what_is_not_a_build_is_reported(refused: Callable[..., str], wheel: Path, tmp_path: Path) -> None:
    damaged, other, nothing = tmp_path / "damaged.whl", tmp_path / "other.whl", tmp_path / "nothing"
    content = bytearray(wheel.read_bytes())
    content[1000:1200] = bytes(200)
    damaged.write_bytes(content)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other/__init__.py", "")
    (tmp_path / "empty").mkdir()
    for path, says in {
        damaged: f"{damaged}: cannot be read as a wheel (Bad ",
        other: f"{other}: a wheel of another package: it has no digits/cli/app.py",
        nothing: f"{nothing}: cannot be read as a wheel (No such file or directory); give a wheel, or a checkout",
        tmp_path / "empty": f"{tmp_path / 'empty'}: not a build: it has neither digits/cli/app.py nor cli/app.py; ",
    }.items():
        assert refused("compare", path, ROOT, cwd=tmp_path).startswith(f"digits: {says}")


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "serve/server.py",
            "    def start(self)",
            "    def begin(self)",
            "does not serve: .* has no attribute 'start'",
        ),
        (
            "serve/batcher.py",
            "probabilities.argmax",
            "probabilities.argmin",
            "digits: B: a wrong answer of .* bytes, under Classify",
        ),
    ],
)
def test_a_build_that_does_not_serve_or_answers_wrongly(
    refused: Callable[..., str], packages: Path, tmp_path: Path, file: str, old: str, new: str, says: str
) -> None:
    bad = changed(packages, tmp_path / "bad", file, old, new)
    assert re.search(says, refused("compare", packages, bad, *FEW, cwd=tmp_path))


def test_a_wheel_is_compared_with_the_checkout(bench: Callable[..., Any], wheel: Path, tmp_path: Path) -> None:
    """Without h2load, and with a limit that nothing is beyond."""
    where = {"env": {"PATH": "/nowhere"}, "cwd": tmp_path}
    file, result, printed = bench("compare", wheel, ROOT, *FEW, "--limit", 99, **where)
    assert "B is not" in printed
    assert result["command"] == "digits bench compare --limit 99.0 --pairs 5 --seconds 0.1 --seed 0"
    assert result["generator"] == "asyncio"
    assert result["builds"] == {"A": wheel.name, "B": ROOT.name}
    loads = [(one["system"], one["load"]["images"]) for one in result["measurements"]]
    assert loads == [("A", 1), ("B", 1), ("A", 64), ("B", 64)]
    for one in result["measurements"]:
        assert len(one["repeats"]) == 5
        assert all(repeat["calls_per_second"] > 0 and repeat["cpu_us"] > 0 for repeat in one["repeats"])
    assert not result["findings"]["slower"]
    assert len(result["findings"]["differences"]) == 4
    assert str(wheel.parent) not in file.read_text()


def test_a_build_of_a_quarter_of_the_speed_is_slower(digits: Digits, packages: Path, tmp_path: Path) -> None:
    slow = slowed(packages, tmp_path / "slow", 3)
    completed = digits("bench", "compare", packages, slow, "--quick", cwd=tmp_path)
    assert completed.returncode == 1, completed.stdout
    assert "\nB is slower: " in completed.stdout
    assert not completed.stderr
    assert json.loads((tmp_path / "runs" / "bench" / "compare.json").read_text())["findings"]["slower"]


@pytest.mark.parametrize(
    ("code", "says"), [(130, "interrupted"), (1, "A: its server has ended in the middle, under Classify")]
)
def test_the_pairs_that_are_measured_are_kept(ended: Callable[..., Any], packages: Path, code: int, says: str) -> None:
    def end(process: subprocess.Popen[str], servers: list[int]) -> None:
        if code == 130:
            process.send_signal(signal.SIGINT)
        else:
            os.kill(servers[0], signal.SIGKILL)

    found = ended("compare", packages, packages, "--pairs", 1000, until="pair 1/", end=end)
    assert found.code == code
    assert found.error.startswith(f"digits: {says}")
    counts = [len(one["repeats"]) for one in found.partial["measurements"]]
    assert min(counts) >= 1
    assert counts[0] == counts[1]
    assert not any(Path(f"/proc/{server}").exists() for server in found.children[:2])


LOAD = {"loop": "closed", "method": "Classify", "images": 1, "connections": 16, "streams": 1, "generator": "h2load"}


def of_server(file: Path, rates: dict[str, float], **more: object) -> Path:
    """A file as `digits bench server` leaves it, with a rate for each server and 10 us of processor time a call."""
    rows = [
        {"system": name, "load": LOAD | more, "repeats": [{"calls_per_second": rate, "cpu_us": 10.0}] * 2}
        for name, rate in rates.items()
    ]
    opened = {"system": "digits, native", "load": LOAD | {"loop": "open", "share": 0.5}, "repeats": []}
    file.write_text(json.dumps({"benchmark": "server", "measurements": [*rows, opened]}))
    return file


def test_two_files_are_compared_by_their_ratios_to_the_echo(bench: Callable[..., Any], tmp_path: Path) -> None:
    """The second machine is half as fast, and digits a fifth slower by its echo: that is never exit code 1."""
    a = of_server(tmp_path / "a.json", {"digits, native": 1000, "digits, grpcio": 100, "echo": 2000})
    b = of_server(tmp_path / "b.json", {"digits, native": 400, "elsewhere": 7, "echo": 1000})
    _, result, printed = bench("compare", a, b)
    (line,) = [line for line in printed.splitlines() if "calls a second" in line]
    assert line.split()[-4:] == ["0.500", "0.400", "-20.0", "%"]
    assert "only in A: digits, grpcio: Classify" in printed
    assert "only in B: elsewhere: Classify" in printed
    assert "\nIndicative: two files are from different times" in printed
    (row,) = result["measurements"]
    assert row["system"] == "digits, native"
    assert [one["calls_per_second"] for one in row["repeats"]] == [0.5, 0.4]
    assert len(result["findings"]["left_out"]) == 2


def test_files_that_cannot_be_compared(refused: Callable[..., str], wheel: Path, tmp_path: Path) -> None:
    a = of_server(tmp_path / "a.json", {"digits, native": 1000, "echo": 2000})
    apart = of_server(tmp_path / "apart.json", {"digits, native": 1000, "echo": 2000}, connections=4)
    other, broken = tmp_path / "other.json", tmp_path / "broken.json"
    other.write_text('{"benchmark": "engine", "measurements": []}')
    broken.write_text("{")
    for pair, says in {
        (a, wheel): f"{a}: a file is only compared with another file; give two files or two builds\n",
        (wheel, a): f"{a}: a file is only compared with another file; give two files or two builds\n",
        (a, other): f"{other}: from `digits bench engine`; give one of `digits bench server`\n",
        (broken, a): f"{broken}: not a file of `digits bench server` (",
        (a, tmp_path / "none.json"): f"{tmp_path / 'none.json'}: cannot be read (No such file or directory)\n",
        (a, apart): f"{a} and {apart} have no load in common",
    }.items():
        assert refused("compare", *pair, cwd=tmp_path).startswith(f"digits: {says}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_15_percent_are_found_and_the_same_build_is_not(digits: Digits, packages: Path, tmp_path: Path) -> None:
    """A slowdown of 15 % in at least 9 of 10 runs; the same build, in at most 1 of 20."""
    slow = slowed(packages, tmp_path / "slow", SLOWER_BY_15_PERCENT)

    def codes(b: Path, runs: int) -> list[int]:
        found = []
        for seed in range(runs):
            completed = digits("bench", "compare", packages, b, *SHORT, "--seed", seed, cwd=tmp_path)
            assert not completed.stderr
            print(completed.stdout.split("\n\n", 1)[1], flush=True)
            found.append(completed.returncode)
        return found

    assert codes(slow, 10).count(1) >= 9
    assert codes(packages, 20).count(1) <= 1
