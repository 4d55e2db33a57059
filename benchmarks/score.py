"""`digits score` compared with only decoding its pictures, in turn; its memory; and the time of the client's import.

The JSON has measurements of `digits score` and of `Pillow`, with a repeat for each round; of `rows`, an .npz that is
scored; and of `imports`, with the seconds of `import digits.client` and of `import numpy, grpc`.
"""

import contextlib
import multiprocessing
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.measurement import measuring
from digits.benchmarks.process import environment, resident_mb
from digits.benchmarks.section import section
from digits.benchmarks.settings import ScoreBenchmarkSettings
from digits.client.local import LocalClassifier
from digits.images import mnist
from digits.images.mnist import Mnist
from digits.storage.cores import usable_cores

CHUNK = 128  # pictures that a process decodes in one task, as in a scoring
FEW = 1_000  # pictures of a run that consists of its start
PAIRS = 15  # of imports
WARM_UP = "a run over 1,000 pictures, whose time is subtracted"
POLL = 0.05  # seconds between two readings of the memory


def run(settings: ScoreBenchmarkSettings) -> None:
    """Writes the pictures, and measures. Seconds are of whole processes."""
    if settings.quick:
        settings = replace(settings, pictures=2_000, rows=10_000, rounds=1)
    data = mnist.load(settings.data)
    print(f"data: {data.source}")
    with (
        tempfile.TemporaryDirectory(prefix="digits-bench-") as name,
        measuring("score", settings, data, warm_up=WARM_UP, repeats=settings.rounds) as result,
    ):
        folder = Path(name)
        files = write_pictures(data, folder / "pictures", settings.pictures)
        print(f"pictures: {len(files):,} PNG files in ten folders", flush=True)
        accuracy = {"accuracy_of_arrays": _accuracy(data, len(files))}
        for number in range(settings.rounds):  # in an order that alternates
            for system in ("digits score", "Pillow")[:: -1 if number % 2 else 1]:
                repeat = _decode(files) if system == "Pillow" else _score(files, folder) | accuracy
                result.repeats(system, {}).append(repeat)
                print(f"round {number + 1}: {system} {repeat['pictures_per_second']:,.0f} pictures/s", flush=True)
        np.savez_compressed(folder / "rows.npz", rows=np.resize(data.x_test, (settings.rows, 28, 28)))
        seconds, peak_mb = _timed(["rows.npz", "--out", "rows.csv"], folder)
        result.repeats("rows", {}).append({"seconds": seconds, "peak_mb": peak_mb})
        for _ in range(PAIRS):
            bare, client = _import("import numpy, grpc"), _import("import digits.client")
            result.repeats("imports", {}).append({"bare_seconds": bare, "client_seconds": client})
    result.show(section)


def write_pictures(data: Mnist, folder: Path, count: int) -> list[str]:
    """So many PNG files of the test digits, repeated as needed, in a folder for each label; in a scoring's order."""
    for label in set(data.y_test.tolist()):
        (folder / str(label)).mkdir(parents=True)
    paths = [folder / str(label) / f"{index:06}.png" for index, label in enumerate(np.resize(data.y_test, count))]
    for index, path in enumerate(paths):
        Image.fromarray(data.x_test[index % len(data.x_test)]).save(path)
    return sorted(map(str, paths))


def _decode(files: Sequence[str]) -> dict[str, float]:
    """Pillow only, in as many processes as there are cores, once all have started."""
    cores = usable_cores()
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        sum(pool.map(decode, chunks[: 4 * cores]))
        began = time.perf_counter()
        count = sum(pool.map(decode, chunks))
        return {"pictures_per_second": count / (time.perf_counter() - began)}


def decode(paths: Sequence[str]) -> int:
    """Reads and decodes each file."""
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            np.asarray(picture)
    return len(paths)


def _score(files: Sequence[str], folder: Path) -> dict[str, float]:
    """The command as a user gives it. The time of a run over few pictures, its start, is subtracted."""
    start, _ = _timed(["-", "--out", "few.csv"], folder, "\n".join(files[:FEW]))
    whole, _ = _timed(["pictures", "--out", "table.csv", "--labels", "from-folder"], folder)
    rows = [row.split(",") for row in (folder / "table.csv").read_text().splitlines()[1:]]
    accuracy = sum(row[1] == row[-1] for row in rows) / len(files)
    return {"pictures_per_second": (len(files) - FEW) / (whole - start), "seconds": whole, "accuracy": accuracy}


def _accuracy(data: Mnist, count: int) -> float:
    """Of the bundled model on the arrays that the pictures were made of."""
    classifier = LocalClassifier()
    blocks = [data.x_test[start : start + 256] for start in range(0, len(data.x_test), 256)]
    digits = np.concatenate([classifier.classify(block).digits for block in blocks])
    return float(np.resize(digits == data.y_test, count).mean())


def _timed(arguments: Sequence[str], folder: Path, given: str = "") -> tuple[float, float]:
    """Runs `digits score` in a folder: its seconds, and the most memory of all its processes, MB.

    Raises BenchmarkError if it failed.
    """
    command, began, peak = [sys.executable, "-m", "digits.cli.app", "score", *arguments, "--overwrite"], 0.0, 0.0
    with tempfile.TemporaryFile("w+") as pictures, tempfile.TemporaryFile("w+") as said:
        pictures.write(given)
        pictures.seek(0)
        began = time.perf_counter()
        with subprocess.Popen(  # noqa: S603 our own
            command, stdin=pictures, stdout=subprocess.DEVNULL, stderr=said, cwd=folder, env=environment()
        ) as process:
            while process.poll() is None:
                peak = max(peak, resident_mb(process.pid))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
        seconds = time.perf_counter() - began
        said.seek(0)
        if process.returncode:
            raise BenchmarkError(f"{shlex.join(command)} ended with {process.returncode}: {said.read()}")
    return seconds, peak


def _import(code: str) -> float:
    """Seconds of a new interpreter that imports something."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 our own
    return time.perf_counter() - began
