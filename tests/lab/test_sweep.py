"""Sweeps: every combination once, after any interruption, and a report in the end."""

import csv
import re
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from digits.images.mnist import Mnist
from digits.lab import sweep_report
from digits.lab.errors import LabError
from digits.lab.plan import plan
from digits.lab.settings import SweepSettings
from digits.lab.study import Score, check_free, opened
from digits.lab.sweep import Sweep, sweep
from digits.train.errors import CheckpointError, RunError

Digits = Callable[..., subprocess.CompletedProcess[str]]

GRID = ("--data", "embedded", "--layers", "1,2", "--nodes", "4,8,12", "--activations", "relu,tanh", "--epochs", "1")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, as it saves
TINY = SweepSettings(layers=(1, 2), nodes=(4, 8, 12), epochs=(1,))
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Interrupted:
    """A sweep of twelve trials that a signal interrupted while its sixth ran, and that was then called again."""

    out: Path
    signal: signal.Signals
    interrupted: str  # what it printed until then
    code: int
    states: Counter[str]  # of its trials then
    completed: subprocess.CompletedProcess[str]


def trials(out: Path) -> list[optuna.trial.FrozenTrial]:
    """The study's trials, as Optuna reads them."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{out / 'study.db'}")
    try:
        return optuna.load_study(study_name="digits sweep", storage=storage).trials
    finally:
        storage.engine.dispose()


def states(out: Path) -> Counter[str]:
    with closing(sqlite3.connect(out / "study.db")) as database:
        return Counter(state for (state,) in database.execute("SELECT state FROM trials"))


@pytest.fixture(scope="module", params=[signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def swept(
    request: pytest.FixtureRequest,
    digits: Digits,
    starting: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Interrupted:
    out = tmp_path_factory.mktemp("sweep")
    with starting("sweep", "--out", out, *GRID) as (process, stderr):
        printed = ""
        while "trial 5 of 12" not in printed or not states(out)["RUNNING"]:
            assert process.poll() is None, stderr.read_text()
            printed += process.stdout.readline() if "trial 5 of 12" not in printed else ""
        process.send_signal(request.param)
        printed += process.stdout.read()
        code = process.wait(timeout=60)
    return Interrupted(out, request.param, printed, code, states(out), digits("sweep", "--out", out, *GRID))


def test_it_continues_after_an_interruption_and_runs_no_trial_twice(swept: Interrupted) -> None:
    if swept.signal == signal.SIGINT:
        assert swept.code == 130
        ending = "unfinished: 5 of 12 trials are done and kept\nnext: the same command again continues\n"
        assert swept.interrupted.endswith(ending)
        assert swept.states == {"COMPLETE": 5, "WAITING": 7}
    else:
        assert swept.states == {"COMPLETE": 5, "RUNNING": 1, "WAITING": 6}
    assert swept.completed.returncode == 0, swept.completed.stderr
    assert swept.completed.stderr == ""
    assert "sweep: 12 trials, 5 done, in " in swept.completed.stdout
    printed = swept.interrupted + swept.completed.stdout
    assert [int(n) for n in re.findall(r"^trial (\d+) of 12: ", printed, re.MULTILINE)] == list(range(1, 13))
    done = trials(swept.out)
    assert {trial.state for trial in done} == {optuna.trial.TrialState.COMPLETE}
    assert [trial.number for trial in done] == list(range(12))
    assert len({tuple(trial.params.items()) for trial in done}) == 12


def test_its_results_are_a_csv_figures_and_a_page_that_loads_nothing(swept: Interrupted) -> None:
    assert {file.name for file in swept.out.iterdir()} == {
        *(".lock", "study.db", "sweep.csv", "sweep.html", "parallel_coordinates.png", "importance.png"),
    }
    rows = list(csv.DictReader((swept.out / "sweep.csv").read_text().splitlines()))
    assert {int(row["trial"]) for row in rows} == set(range(1, 13))
    done = trials(swept.out)
    for row in rows:
        trial = done[int(row["trial"]) - 1]
        assert {name: row[name] for name in trial.params} == {name: str(value) for name, value in trial.params.items()}
        assert float(row["val_accuracy"]) == pytest.approx(trial.value, abs=1e-6)
        assert row["validation_images"] == "400"
    accuracies = [float(row["val_accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    for name in ("parallel_coordinates.png", "importance.png"):
        assert (swept.out / name).read_bytes().startswith(PNG)
    page = (swept.out / "sweep.html").read_text()
    assert page.count('src="data:image/png;base64,') == 2
    assert "://" not in page
    assert page.count("<tr>") == 13


def test_it_ends_with_the_best_and_the_command_to_train_it(swept: Interrupted) -> None:
    best = next(csv.DictReader((swept.out / "sweep.csv").read_text().splitlines()))
    layers, nodes, activation = int(best["layers"]), best["nodes"], best["activation"]
    *_, report, said, following = swept.completed.stdout.splitlines()
    assert report == f"report: {swept.out / 'sweep.html'}"
    accuracy = f"{float(best['val_accuracy']) * 100:.2f} %"
    assert said == f"best: {layers} x {nodes} {activation}, 1 epoch, validation accuracy {accuracy}"
    assert following == (
        f"next: digits train --layers {','.join([nodes] * layers)} --activation {activation} --epochs 1 --data embedded"
    )
    assert "of 400 training images held out" in swept.completed.stdout


def swept_once(out: Path, **settings: Any) -> Sweep:
    """A sweep of one layer on the embedded digits, with its report written."""
    chosen = SweepSettings(**{"out": out, "data": "embedded", "layers": (1,), "epochs": (1,), **settings})
    result = sweep(chosen)
    sweep_report.write(result, chosen)
    return result


def test_another_plan_is_rejected_in_the_same_folder(swept: Interrupted, data: Mnist) -> None:
    other = plan(replace(TINY, epochs=(1, 2), seed=1), data.sha256)
    message = "epochs 1 instead of 1,2, trials 12 instead of 24, seed 0 instead of 1); give another --out"
    with pytest.raises(LabError, match=re.escape(f"{swept.out}: holds another sweep ({message}")):
        opened(swept.out, other).__enter__()
    with pytest.raises(LabError, match=re.escape("holds another sweep (other digits)")):
        opened(swept.out, plan(TINY, "")).__enter__()
    assert states(swept.out) == {"COMPLETE": 12}


def test_a_wrong_activation_is_named_before_the_first_trial_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^--activations tahn: Keras knows no such name; did you mean tanh\?"):
        swept_once(tmp_path / "sweep", activations=("relu", "tahn"))
    assert list(tmp_path.iterdir()) == []


def test_one_trial_has_no_figures_and_a_folder_may_have_any_name(tmp_path: Path) -> None:
    out = tmp_path / "a {b}?%20#"
    out.mkdir()
    result = swept_once(out, nodes=(4, 8), sampler="random", trials=1, seed=5)
    assert {file.name for file in out.iterdir()} == {".lock", "study.db", "sweep.csv", "sweep.html"}
    assert sweep_report.not_drawn(result)["importance.png"] == "not drawn, since a single trial cannot be compared"
    assert sweep_report.training_command(result, SweepSettings(seed=5)).endswith(" --seed 5")


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


def test_a_grid_is_every_combination_once() -> None:
    chosen = plan(TINY, "").candidates
    assert len(set(chosen)) == len(chosen) == 12
    assert str(chosen[0]) == "1 x 4 relu, 1 epoch"


def test_a_random_choice_has_none_twice_and_depends_on_its_seed() -> None:
    def chosen(seed: int, **more: Any) -> list[Any]:
        return plan(SweepSettings(sampler="random", seed=seed, **more), "").candidates

    assert len(chosen(0)) == len(set(chosen(0))) == 20
    assert chosen(0) == chosen(0) != chosen(1)
    assert set(chosen(0, trials=36)) == set(plan(SweepSettings(), "").candidates)
    with pytest.raises(LabError, match="--trials 37: the lists have only 36 combinations"):
        chosen(0, trials=37)


def test_a_study_that_was_not_completely_written_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "study.db.unfinished").write_bytes(b"SQLite format 3\0")
    check_free(tmp_path)
    with opened(tmp_path, plan(TINY, "")) as begun:
        assert begun.total == states(tmp_path)["WAITING"] == 12
        with pytest.raises(RunError, match="another process is running this sweep"):
            opened(tmp_path, plan(TINY, "")).__enter__()
    assert {file.name for file in tmp_path.iterdir()} == {".lock", "study.db"}


def test_trials_that_do_not_differ_have_no_importances(tmp_path: Path) -> None:
    with opened(tmp_path, plan(replace(TINY, nodes=(4, 8)), "")) as begun:
        while taken := begun.take():
            begun.finish(taken[0], Score(0.1, float("nan"), 0.1, float("nan"), 400, 10, 1.0))
        assert len(begun.results()) == 8
        assert begun.importances(["layers", "nodes", "activation"]) == {}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"nodes": (64,), "layers": (5,), "activations": ("exponential", "relu")}, "training diverged: the loss of"),
        pytest.param(
            {"nodes": (2_000_000_000, 4), "activations": ("relu",)}, "--layers 2000000000 ", marks=pytest.mark.slow
        ),
    ],
)
def test_a_trial_that_cannot_be_trained_is_named_and_the_others_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], why: str
) -> None:
    result = swept_once(tmp_path / "sweep", **settings)
    assert re.search(rf"trial 1 of 2: .*, 1 epoch: cannot be trained \({why}", capsys.readouterr().out)
    assert list(result.failures) == [1]
    assert result.failures[1].startswith(why)
    assert len(result.results) == 1
    assert f"Trial 1 could not be trained: {why}" in (tmp_path / "sweep" / "sweep.html").read_text()
    assert states(tmp_path / "sweep") == {"FAIL": 1, "COMPLETE": 1}


@pytest.mark.slow
def test_a_damaged_checkpoint_does_not_fail_its_trial(data: Mnist, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"nodes": (4,), "activations": ("relu",)}
    with opened(tmp_path, plan(SweepSettings(layers=(1,), epochs=(1,), **settings), data.sha256)):
        checkpoint = tmp_path / "unfinished" / "trial-1" / "checkpoint.npz"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"PK, but no more")
    with pytest.raises(CheckpointError, match=r"damaged \(.*\); remove it to start at the first epoch$"):
        swept_once(tmp_path, **settings)
    assert states(tmp_path) == {"WAITING": 1}
    checkpoint.unlink()
    swept_once(tmp_path, **settings)
    assert states(tmp_path) == {"COMPLETE": 1}


def test_a_folder_without_a_sweep_is_rejected_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "love.txt").touch()
    with pytest.raises(LabError, match=r"holds love.txt and no sweep; give another --out"):
        check_free(tmp_path)
    file = tmp_path / "study.db"
    for content in (b"", b"no database" * 1000):
        file.write_bytes(content)
        with pytest.raises(LabError, match=r"study.db: cannot be used \(.+\); give another --out"):
            opened(tmp_path, plan(TINY, "")).__enter__()
        assert file.read_bytes() == content
    file.unlink()
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    optuna.create_study(study_name="mine", storage=storage)
    storage.engine.dispose()
    with pytest.raises(LabError, match=r"study.db: holds no sweep; give another --out"):
        opened(tmp_path, plan(TINY, "")).__enter__()
