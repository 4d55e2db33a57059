"""The report of the benchmarks: tables and figures of what was measured, and one page that needs nothing else."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from digits.benchmarks.measurement import HERE, RESULTS

Digits = Callable[..., subprocess.CompletedProcess[str]]

COMMITTED = sorted(RESULTS.glob("*.json"))
SCHEMA = json.loads((HERE / "schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns("*.html", "*.md"))
    return folder


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
def test_committed_results_follow_the_schema(file: Path) -> None:
    result = json.loads(file.read_text(encoding="utf-8"))
    if "benchmark" in result:  # recipes.json is a comparison's
        jsonschema.validate(result, SCHEMA)
        assert result["complete"]
        assert result["benchmark"] == file.stem
        result["measurements"][0]["repeats"][0]["latency_us"] = {"p50": 1.0}
        with pytest.raises(jsonschema.ValidationError, match="required property"):
            jsonschema.validate(result, SCHEMA)


def test_the_committed_report_says_what_the_committed_results_say(
    digits: Digits, results: Path, tmp_path: Path
) -> None:
    completed = digits("bench", "report", "--results", results, "--readme", tmp_path / "README.md")
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "README.md").read_text() == (HERE / "README.md").read_text()
    page = (results / "report.html").read_text()
    assert "<img" in page
    assert page.count("<img") == page.count("data:image/png;base64,")
    for command in (json.loads(file.read_text()).get("command") for file in COMMITTED):
        assert command is None or command in page
    for figure in ("server-latency", "server-throughput", "engine-roofline", "engine-throughput", "parity-histogram"):
        assert (results / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert f"(results/{figure}.png)" in (tmp_path / "README.md").read_text()


def test_what_was_kept_is_reported_where_there_is_nothing_whole(digits: Digits, tmp_path: Path) -> None:
    kept = json.loads((RESULTS / "training.json").read_text()) | {"complete": False, "ended_by": "SIGTERM"}
    kept["measurements"] = kept["measurements"][:1]
    (tmp_path / "training.partial.json").write_text(json.dumps(kept))
    completed = digits("bench", "report", "--results", tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert "Ended early by: SIGTERM." in (tmp_path / "README.md").read_text()


def test_a_folder_without_results_and_a_damaged_result_are_reported(
    refused: Callable[..., str], results: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no result of a benchmark" in refused("report", "--results", tmp_path / "empty")
    for text, says in {
        '{"schema": 1}': "lacks what `digits bench server` writes (KeyError: 'measurements')",
        "{": "is not a result of a benchmark",
    }.items():
        (results / "server.json").write_text(text)
        assert f"server.json: {says}" in refused("report", "--results", results)
    assert not (results / "README.md").exists()
