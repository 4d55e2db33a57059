"""Benchmarks that run to their end, that end early, and that report an error."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Measured(NamedTuple):
    file: Path
    result: dict[str, Any]
    printed: str


class Ended(NamedTuple):
    code: int
    error: str
    printed: str  # from then on
    partial: dict[str, Any]
    children: list[int]


@pytest.fixture(scope="session")
def bench(
    digits: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Measured]:
    """Runs a benchmark, whose JSON file is in a new folder and does not say in which."""

    def run(name: str, *arguments: object, **options: Any) -> Measured:
        file = tmp_path_factory.mktemp("bench") / "new" / f"{name}.json"
        completed = digits("bench", name, *arguments, "--out", file, **options)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        text = file.read_text()
        assert str(file.parent) not in text
        return Measured(file, json.loads(text), completed.stdout)

    return run


@pytest.fixture
def ended(starting: Callable[..., Any], tmp_path: Path) -> Callable[..., Ended]:
    """Runs a benchmark until it prints some text, then calls `end` with its process and its children's ids."""

    def run(name: str, *arguments: object, until: str, end: Callable[[Any, list[int]], object]) -> Ended:
        out = tmp_path / f"{name}.json"
        with starting("bench", name, *arguments, "--out", out) as (process, stderr):
            while until not in (line := process.stdout.readline()):
                assert line, stderr.read_text()
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            end(process, pids := [int(child) for child in children])
            printed, code = process.stdout.read(), process.wait(timeout=60)
        assert not out.exists()
        partial = json.loads((tmp_path / f"{name}.partial.json").read_text())
        assert partial["complete"] is False
        return Ended(code, stderr.read_text(), printed, partial, pids)

    return run


@pytest.fixture(scope="session")
def refused(digits: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """The error of a benchmark, which is one line."""

    def run(*arguments: object, code: int = 1, **options: Any) -> str:
        completed = digits("bench", *arguments, **options)
        assert completed.returncode == code, completed.stderr
        assert completed.stderr.count("\n") == 1
        return completed.stderr

    return run
