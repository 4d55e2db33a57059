"""`digits score` at the size that it is made for: 10,000 and 20,000 files, killed again and again, and on Ray."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.client.local import LocalClassifier
from digits.images import mnist
from digits.images.mnist import Mnist

Digits = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

COMMAND = (sys.executable, "-m", "digits.cli.app", "score")


@pytest.fixture(scope="module")
def every() -> Mnist:
    """All of MNIST where the machine has it, or else the embedded digits."""
    return mnist.load(os.environ.get("DIGITS_DATA", "embedded"))


@pytest.fixture(scope="module")
def scans(every: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test digits as PNG files in ten folders."""
    top = tmp_path_factory.mktemp("all") / "scans"
    for index, (digit, label) in enumerate(zip(every.x_test, every.y_test, strict=True)):
        folder = top / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(folder / f"{index:05}.png")
    return top


@pytest.fixture(scope="module")
def table(digits: Digits, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the PNG files, made on this machine."""
    return _scored(digits, scans, tmp_path_factory.mktemp("table") / "local.csv")


def _scored(digits: Digits, scans: Path, table: Path) -> Path:
    """The table of the files, by the engine of its name."""
    options = ("--labels", "from-folder", "--precision", "fp32", "--engine", table.stem)
    completed = digits("score", scans, "--out", table, *options)
    assert completed.returncode == 0, completed.stderr
    return table


def test_files_are_scored_as_their_arrays(every: Mnist, table: Path) -> None:
    """Each row: the same digit and the same bits of confidence as the array it was made of."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    order = [int(Path(row["path"]).stem) for row in rows]
    assert sorted(order) == list(range(len(every.x_test)))
    raw = LocalClassifier(precision="fp32").classify(every.x_test[order])
    assert [int(row["digit"]) for row in rows] == raw.digits.tolist()
    assert np.array([row["confidence"] for row in rows], np.float32).tobytes() == raw.confidences.tobytes()


def test_a_ray_cluster_makes_the_same_table(digits: Digits, scans: Path, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'digits-serving[ray]' brings it; make test-all does")
    assert _scored(digits, scans, tmp_path / "ray.csv").read_bytes() == table.read_bytes()


def test_killed_at_twenty_moments_it_makes_the_table_of_an_undisturbed_run(
    digits: Digits, scans: Path, tmp_path: Path
) -> None:
    """Of 20,000 files; each kill comes at a random size of the journal, and the same command ends the work."""
    originals = sorted(scans.rglob("*.png"))
    for number in range(20_000):
        folder = tmp_path / "many" / str(number % 10)
        folder.mkdir(parents=True, exist_ok=True)
        os.link(originals[number % len(originals)], folder / f"{number:05}.png")
    arguments = [str(tmp_path / "many"), "--precision", "fp32", "--contact-sheet", str(tmp_path / "sheet.png")]
    whole, out = tmp_path / "whole.csv", tmp_path / "table.csv"
    assert digits("score", *arguments, "--out", whole).returncode == 0
    sheet = (tmp_path / "sheet.png").read_bytes()
    moments, went_on = np.random.default_rng(0), 0
    for _ in range(20):
        with subprocess.Popen([*COMMAND, *arguments, "--out", str(out)], stdout=subprocess.DEVNULL) as process:
            size, wal = moments.integers(0, 3_000_000), out.with_name("table.csv.journal-wal")
            while process.poll() is None and not (wal.exists() and wal.stat().st_size >= size):
                os.sched_yield()
            process.kill()
        if not out.exists():
            completed = digits("score", *arguments, "--out", out)
            assert completed.returncode == 0, completed.stderr
            went_on += "were there already" in completed.stdout
        assert out.read_bytes() == whole.read_bytes()
        assert (tmp_path / "sheet.png").read_bytes() == sheet
        out.unlink()
        out.with_name("table.csv.journal").unlink(missing_ok=True)  # where it was killed after its last rename
    assert went_on >= 5
