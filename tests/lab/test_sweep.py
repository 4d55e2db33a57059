"""Sweeps: every combination once, after any interruption, and a report in the end."""

import csv
import json
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from digits.images.mnist import Mnist
from digits.lab import sweep_report
from digits.lab.errors import LabError
from digits.lab.settings import SweepSettings
from digits.lab.study import STUDY, Result, Score, Study, check_free, opened, plan
from digits.lab.sweep import Sweep, importances, sweep
from digits.train.errors import CheckpointError, RunError

Digits = Callable[..., subprocess.CompletedProcess[str]]

GRID = ("--data", "embedded", "--layers", "1,2", "--nodes", "4,16", "--activations", "relu", "--epochs", "1")
TINY = SweepSettings(data="embedded", layers=(1, 2), nodes=(4, 16), activations=("relu",), epochs=(1,))
PNG = b"\x89PNG\r\n\x1a\n"
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, as it saves


@dataclass(frozen=True)
class Interrupted:
    """A sweep of four trials that was interrupted in its third, and then called again."""

    out: Path
    interrupted: str  # what it printed until then
    completed: subprocess.CompletedProcess[str]


def over(out: Path) -> list[int]:
    """The numbers of the trials that are done or failed."""
    study = Study.read(out / STUDY)
    return sorted(study.scores.keys() | study.failures.keys())


@pytest.fixture(scope="module")
def swept(digits: Digits, interrupting: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    out = tmp_path_factory.mktemp("sweep")
    with redirect_stdout(interrupting("trial 2 of 4", signal.SIGINT)) as printed, pytest.raises(KeyboardInterrupt):
        sweep(replace(TINY, out=out))
    assert over(out) == [1, 2]
    assert (out / "unfinished" / "trial-3" / "checkpoint.npz").exists()
    return Interrupted(out, printed.getvalue(), digits("sweep", "--out", out, *GRID))


def test_it_continues_after_an_interruption_and_runs_no_trial_twice(swept: Interrupted) -> None:
    ending = "unfinished: 2 of 4 trials are done and kept\nnext: the same command again continues\n"
    assert swept.interrupted.endswith(ending)
    assert (swept.completed.returncode, swept.completed.stderr) == (0, "")
    assert "sweep: 4 trials, 2 done, in " in swept.completed.stdout
    printed = swept.interrupted + swept.completed.stdout
    assert [int(n) for n in re.findall(r"^trial (\d) of 4: ", printed, re.MULTILINE)] == [1, 2, 3, 4]
    assert over(swept.out) == [1, 2, 3, 4]


@pytest.mark.slow
def test_it_continues_after_it_was_killed(digits: Digits, starting: Callable[..., Any], tmp_path: Path) -> None:
    with starting("sweep", "--out", tmp_path, *GRID) as (process, stderr):
        while "trial 2 of 4" not in process.stdout.readline():
            assert process.poll() is None, stderr.read_text()
    assert over(tmp_path) in ([1, 2], [1, 2, 3])
    completed = digits("sweep", "--out", tmp_path, *GRID)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert over(tmp_path) == [1, 2, 3, 4]


def test_its_results_are_a_csv_figures_and_a_page_that_loads_nothing(swept: Interrupted) -> None:
    figures = {"parallel_coordinates.png", "importance.png"}
    assert {file.name for file in swept.out.iterdir()} == {".lock", STUDY, "sweep.csv", "sweep.html", *figures}
    rows = list(csv.DictReader((swept.out / "sweep.csv").read_text().splitlines()))
    done = {result.number: result for result in Study.read(swept.out / STUDY).results()}
    assert sorted(int(row["trial"]) for row in rows) == list(done)
    for row in rows:
        result = done[int(row["trial"])]
        assert (row["layers"], row["nodes"]) == (str(result.candidate.layers), str(result.candidate.nodes))
        assert float(row["val_accuracy"]) == pytest.approx(result.score.val_accuracy, abs=1e-6)
        assert row["validation_images"] == "400"
    accuracies = [float(row["val_accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all((swept.out / name).read_bytes().startswith(PNG) for name in figures)
    page = (swept.out / "sweep.html").read_text()
    assert (page.count('src="data:image/png;base64,'), page.count("<tr>"), "://" in page) == (2, 5, False)


def test_it_ends_with_the_best_and_the_command_to_train_it(swept: Interrupted) -> None:
    best = next(csv.DictReader((swept.out / "sweep.csv").read_text().splitlines()))
    layers, nodes = int(best["layers"]), best["nodes"]
    *_, report, said, following = swept.completed.stdout.splitlines()
    assert report == f"report: {swept.out / 'sweep.html'}"
    accuracy = f"{float(best['val_accuracy']) * 100:.2f} %"
    assert said == f"best: {layers} x {nodes} relu, 1 epoch, validation accuracy {accuracy}"
    assert following == (
        f"next: digits train --layers {','.join([nodes] * layers)} --activation relu --epochs 1 --data embedded"
    )
    assert "of 400 training images held out" in swept.completed.stdout


def test_another_plan_is_rejected_in_the_same_folder(swept: Interrupted, data: Mnist) -> None:
    other = plan(replace(TINY, out=swept.out, epochs=(1, 2), seed=1), data.sha256)
    message = "epochs 1 instead of 1,2, trials 4 instead of 8, seed 0 instead of 1); give another --out"
    with pytest.raises(LabError, match=re.escape(f"{swept.out}: holds another sweep ({message}")):
        opened(other).__enter__()
    with pytest.raises(LabError, match=re.escape("holds another sweep (other digits)")):
        opened(plan(replace(TINY, out=swept.out), "")).__enter__()
    assert over(swept.out) == [1, 2, 3, 4]


def swept_once(out: Path, **settings: Any) -> Sweep:
    """A sweep of one layer on the embedded digits, with its report written."""
    chosen = replace(TINY, **{"out": out, "layers": (1,), **settings})
    result = sweep(chosen)
    sweep_report.write(result, chosen)
    return result


def test_a_wrong_activation_is_named_before_the_first_trial_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^--activations tahn: Keras knows no such name; did you mean tanh\?"):
        swept_once(tmp_path / "sweep", activations=("relu", "tahn"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--layers", "512,256"], '"512,256" is not a list of numbers of hidden layers, each from 1 to 20'),
        (["--epochs", "5,0"], '"5,0" is not a list of epoch counts'),
        (["--activations", "relu,"], '"relu," is not a list of names; give them as in relu,tanh'),
        (["--validation-split", "0"], "Must be > 0"),
    ],
)
def test_a_wrong_list_is_an_error_of_one_line(digits: Digits, arguments: list[str], expected: str) -> None:
    completed = digits("sweep", *arguments)
    assert completed.returncode == 2
    (line,) = completed.stderr.splitlines()
    assert expected in line


def test_a_grid_is_every_combination_once_and_a_random_choice_depends_on_its_seed() -> None:
    def chosen(seed: int, **more: Any) -> list[Any]:
        return plan(SweepSettings(sampler="random", seed=seed, **more), "").candidates

    grid = plan(SweepSettings(), "").candidates
    assert (len(grid), len(set(grid)), str(grid[0])) == (36, 36, "1 x 64 relu, 5 epochs")
    assert len(chosen(0)) == len(set(chosen(0))) == 20
    assert chosen(0) == chosen(0) != chosen(1)
    assert set(chosen(0, trials=36)) == set(grid)
    with pytest.raises(LabError, match="--trials 37: the lists have only 36 combinations"):
        chosen(0, trials=37)


def test_a_study_that_was_not_completely_written_is_written_again(tmp_path: Path) -> None:
    (tmp_path / f"{STUDY}.unfinished").write_text('{"plan": ')
    check_free(tmp_path)
    with opened(plan(replace(TINY, out=tmp_path), "")) as begun:
        assert [number for number, _ in begun.waiting()] == [1, 2, 3, 4]
        with pytest.raises(RunError, match="another process is running this sweep"):
            opened(plan(replace(TINY, out=tmp_path), "")).__enter__()
    assert {file.name for file in tmp_path.iterdir()} == {".lock", STUDY}


def test_trials_that_do_not_differ_have_no_importances(tmp_path: Path) -> None:
    nan = float("nan")
    with opened(plan(replace(TINY, out=tmp_path), "")) as begun:
        for number, _ in begun.waiting():
            begun.finish(number, Score(0.1, nan, 0.1, nan, 400, 10, 1.0))
    results: list[Result] = Study.read(tmp_path / STUDY).results()
    assert len(results) == 4
    assert str(results[0].score.val_loss) == "nan"
    assert importances(results, ["layers", "nodes"]) == {}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"nodes": (64,), "activations": ("exponential", "relu"), "layers": (5,)}, "training diverged: the loss of"),
        pytest.param({"nodes": (2_000_000_000, 4)}, "--layers 2000000000 ", marks=pytest.mark.slow),
    ],
)
def test_a_trial_that_cannot_be_trained_is_named_and_the_others_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], why: str
) -> None:
    """What is left is one trial, which has no figures; the folder may have any name."""
    out = tmp_path / "a {b}?%20#"
    result = swept_once(out, **settings)
    assert re.search(rf"trial 1 of 2: .*, 1 epoch: cannot be trained \({why}", capsys.readouterr().out)
    assert list(result.failures) == [1]
    assert result.failures[1].startswith(why)
    assert len(result.results) == 1
    assert f"Trial 1 could not be trained: {why}" in (out / "sweep.html").read_text()
    assert {file.name for file in out.iterdir()} == {".lock", STUDY, "sweep.csv", "sweep.html"}
    assert sweep_report.not_drawn(result)["importance.png"] == "not drawn, since a single trial cannot be compared"
    assert sweep_report.training_command(result, SweepSettings(seed=5)).endswith(" --seed 5")


@pytest.mark.slow
def test_a_damaged_checkpoint_does_not_fail_its_trial(data: Mnist, tmp_path: Path) -> None:
    checkpoint = tmp_path / "unfinished" / "trial-1" / "checkpoint.npz"
    with opened(plan(replace(TINY, out=tmp_path, layers=(1,)), data.sha256)):
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"PK, but no more")
    with pytest.raises(CheckpointError, match=r"damaged \(.*\); remove it to start at the first epoch$"):
        swept_once(tmp_path)
    assert over(tmp_path) == []
    checkpoint.unlink()
    swept_once(tmp_path)
    assert over(tmp_path) == [1, 2]


def test_a_folder_without_a_sweep_is_rejected_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "love.txt").touch()
    with pytest.raises(LabError, match=r"holds love.txt and no sweep; give another --out"):
        check_free(tmp_path)
    file = tmp_path / STUDY
    for content in (b"", b"\xff" * 1000, json.dumps({"plan": {}}).encode(), b"[]"):
        file.write_bytes(content)
        with pytest.raises(LabError, match=r"study.json: cannot be used \(.+\); give another --out"):
            opened(plan(replace(TINY, out=tmp_path), "")).__enter__()
        assert file.read_bytes() == content
