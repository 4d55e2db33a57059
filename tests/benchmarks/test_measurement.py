"""The JSON of a benchmark is written however the benchmark ends, and says where it was measured."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from digits.benchmarks import measurement
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.measurement import INT8, measuring
from digits.benchmarks.settings import ServerBenchmarkSettings


def test_a_result_that_cannot_be_written_is_kept_elsewhere(tmp_path: Path) -> None:
    """A folder gets the name of the file meanwhile; a full disk gives the same error."""
    out = tmp_path / "server.json"
    with (  # noqa: PT012 it is raised by the exit
        pytest.raises(BenchmarkError, match=r"server\.json: cannot be written") as caught,
        measuring("server", ServerBenchmarkSettings(out=out)) as result,
    ):
        result.repeats("echo", {}).append({})
        out.mkdir()
    found = re.search(r"what was measured is in (\S+)$", str(caught.value))
    assert found is not None
    assert json.loads(Path(found[1]).read_text())["measurements"] == result.rows
    assert list(tmp_path.iterdir()) == [out]


def test_an_early_end_never_replaces_a_complete_result(tmp_path: Path) -> None:
    settings = ServerBenchmarkSettings(out=tmp_path / "server.json")
    with measuring("server", settings) as result:
        result.repeats("echo", {}).append({})
    flags = re.findall(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert result.head["machine"]["int8"] == [name for name in INT8 if flags and name in flags[0].split()]
    whole = result.out.read_text()
    with pytest.raises(KeyboardInterrupt), measuring("server", settings) as result:  # noqa: PT012 as Ctrl-C
        result.repeats("echo", {}).append({})
        raise KeyboardInterrupt
    assert result.out.read_text() == whole
    assert json.loads((tmp_path / "server.partial.json").read_text())["ended_by"] == "KeyboardInterrupt"
    with measuring("server", settings) as result:
        result.repeats("echo", {}).append({})
    assert list(tmp_path.iterdir()) == [settings.out]


def test_a_result_of_the_checkout_needs_a_clean_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results themselves may differ: they are measured one after the other."""
    here = tmp_path / "benchmarks"
    (here / "results").mkdir(parents=True)
    monkeypatch.setattr(measurement, "HERE", here)
    monkeypatch.setattr(measurement, "RESULTS", here / "results")
    settings = ServerBenchmarkSettings(out=here / "results" / "server.json")
    for name in ("code.py", "results/engine.json"):
        (here / name).write_text("1")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm first"):
        subprocess.run(["git", *command.split()], cwd=here, check=True)
    (here / "results" / "engine.json").write_text("2")
    with measuring("server", settings) as result:
        assert not result.head["commit"].endswith("+")
    (here / "code.py").write_text("2")
    says = r"the code differs from commit .*; commit it first"
    with pytest.raises(BenchmarkError, match=says), measuring("server", settings):
        pass
    with measuring("server", ServerBenchmarkSettings(out=tmp_path / "server.json")) as result:
        assert result.head["commit"].endswith("+")
