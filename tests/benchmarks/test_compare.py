"""`digits bench compare`: it measures the build that it says, finds a slower one beyond noise, and keeps its pairs."""

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

import numpy as np
import pytest

from digits.benchmarks.compare.build import opened
from digits.benchmarks.compare.verdict import GRID, A, B, differences, estimate, verdict
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.measure import CPU, RATE

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
            assert build.root.is_relative_to(ROOT) is False
    lacking = shutil.copytree(packages, tmp_path / "lacking")
    shutil.rmtree(lacking / "digits" / "model")
    says = r"lacking: (lacks a module; .*|cannot be imported: .*)"
    with pytest.raises(BenchmarkError, match=says), opened(lacking):
        pass


def test_what_is_not_a_build_is_reported(wheel: Path, tmp_path: Path) -> None:
    damaged, other, empty = tmp_path / "damaged.whl", tmp_path / "other.whl", tmp_path / "empty"
    content = bytearray(wheel.read_bytes())
    content[1000:1200] = bytes(200)
    damaged.write_bytes(content)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other/__init__.py", "")
    empty.mkdir()
    for path, says in {
        damaged: "cannot be read as a wheel (Bad ",
        other: "a wheel of another package: it has no digits/cli/app.py",
        tmp_path / "nothing": "cannot be read as a wheel (No such file or directory); give a wheel, or a checkout",
        empty: "not a build: it has neither digits/cli/app.py nor cli/app.py; ",
    }.items():
        with pytest.raises(BenchmarkError, match=re.escape(f"{path}: {says}")), opened(path):
            pass


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "serve/server.py",
            "    def start(self)",
            "    def begin(self)",
            "does not serve: .* no attribute 'start'",
        ),
        (
            "serve/batcher.py",
            "probabilities.argmax",
            "probabilities.argmin",
            "B: a wrong answer of .*, under C",
        ),
    ],
)
def test_a_build_that_does_not_serve_or_answers_wrongly(
    refused: Callable[..., str], packages: Path, tmp_path: Path, file: str, old: str, new: str, says: str
) -> None:
    bad = changed(packages, tmp_path / "bad", file, old, new)
    assert re.search(says, refused("compare", packages, bad, *FEW, cwd=tmp_path))


def test_a_build_of_a_quarter_of_the_speed_is_slower(
    digits: Digits, packages: Path, wheel: Path, tmp_path: Path
) -> None:
    """Without h2load: our own generator hides the rate, but the processor time of a call counts."""
    slow, file = slowed(packages, tmp_path / "slow", 3), tmp_path / "compare.json"
    where: dict[str, Any] = {"env": {"PATH": "/nowhere"}, "cwd": tmp_path}
    completed = digits("bench", "compare", wheel, slow, "--quick", "--out", file, **where)
    assert (completed.returncode, completed.stderr) == (1, ""), completed.stdout
    assert "\nB is slower: " in completed.stdout
    result = json.loads(file.read_text())
    assert result["command"] == "digits bench compare --quick --limit 5.0 --pairs 100 --seconds 0.1 --seed 0"
    assert (result["generator"], result["builds"]) == ("asyncio", {"A": wheel.name, "B": "slow"})
    loads = [(one["system"], one["load"]["images"]) for one in result["measurements"]]
    assert loads == [("A", 1), ("B", 1), ("A", 64), ("B", 64)]
    for one in result["measurements"]:
        assert [repeat["calls_per_second"] > 0 and repeat["cpu_us"] > 0 for repeat in one["repeats"]] == [True] * 8
    assert result["findings"]["slower"]
    assert len(result["findings"]["differences"]) == 4
    assert str(tmp_path) not in file.read_text()


def test_the_pairs_of_a_server_that_ends_are_kept(ended: Callable[..., Any], packages: Path) -> None:
    kill = lambda _, servers: os.kill(servers[0], signal.SIGKILL)  # noqa: E731 short
    found = ended("compare", packages, packages, "--pairs", 1000, until="pair 1/", end=kill)
    assert found.code == 1
    assert found.error.startswith("digits: A: its server has ended in the middle, under Classify")
    counts = [len(one["repeats"]) for one in found.partial["measurements"]]
    assert counts[0] == counts[1] >= 1
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
        (a, other): f"{other}: from `digits bench engine`; give one of `digits bench server`\n",
        (broken, a): f"{broken}: not a file of `digits bench server` (",
        (a, tmp_path / "none.json"): f"{tmp_path / 'none.json'}: cannot be read (No such file or directory)\n",
        (a, apart): f"{a} and {apart} have no load in common",
    }.items():
        assert refused("compare", *pair, cwd=tmp_path).startswith(f"digits: {says}")


def test_a_few_stalls_do_not_move_the_mean_far() -> None:
    assert estimate(np.full(7, 0.5), 0.95, seed=0) == pytest.approx((0.5, 0.5, 0.5))
    values = np.random.default_rng(0).normal(0, 0.02, 40)
    values[:4] = -3.0
    value, low, high = estimate(values, 0.95, seed=0)
    assert low < value < high
    assert abs(value) < 0.02


@pytest.mark.parametrize(
    ("noise", "rate", "cpu", "slower", "says"),
    [
        (0.02, 0.85, 1.18, True, r"B is slower: Classify, 16 connections: 1\d\.\d % \(.* %\) fewer calls a second; "),
        (0.02, 1.0, 1.18, True, r"B is slower: .* more processor time a call; 5 % is allowed"),
        (0.02, 0.85, 1.0, True, r"B is slower: .* fewer calls a second; 5 % is allowed"),
        (0.005, 0.97, 1.03, False, "B is not slower by more than 5 %: Classify.*: at most "),
        (0.02, 1.5, 0.7, False, "B is not slower by more than 5 %: Classify.*: at most "),
        (0.5, 1.0, 1.0, False, "B is not shown to be slower, but noise leaves room: Classify"),
    ],
)
def test_slower_means_beyond_noise_and_limit(noise: float, rate: float, cpu: float, slower: bool, says: str) -> None:
    """Of forty pairs, in which B has so many times A's rate and processor time, with noise on the ratios."""
    rng, samples = np.random.default_rng(0), {}
    for point in GRID:
        samples[point, A] = [{RATE: 1000.0, CPU: 50.0}] * 40
        factors = np.exp(rng.normal(0, noise, (40, 2))).tolist()
        samples[point, B] = [{RATE: 1000 * rate * one, CPU: 50 * cpu * other} for one, other in factors]
    found = differences(samples, 5.0, seed=0)
    assert any(one["slower"] for one in found) == slower
    assert re.search(says, verdict(found, 5.0))


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
