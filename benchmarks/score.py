"""`digits score` beside the decoding of its pictures alone, in turn; its memory; and what the client's import takes."""

from __future__ import annotations

import multiprocessing
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.measurement import measurement
from digits.benchmarks.process import environment, resident_mb
from digits.images import mnist
from digits.report.cores import usable_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digits.benchmarks.settings import ScoreBenchmarkSettings
    from digits.images.mnist import Mnist

CHUNK = 128  # pictures that a process decodes at a time, as in a scoring
FEW = 1_000  # pictures of a run that is all start-up
IMPORTS = "import numpy, grpc", "import digits.client"
PAIRS = 15  # of imports
WARM_UP = "a run over 1,000 pictures, whose time is taken off"
LOOK = 0.05  # seconds between two looks at the memory


def run(settings: ScoreBenchmarkSettings) -> dict[str, Any]:
    """Writes the pictures, and measures. Seconds are of whole processes."""
    data = mnist.load(settings.data)
    print(f"data: {data.source}")
    with tempfile.TemporaryDirectory(prefix="digits-bench-") as name:
        folder = Path(name)
        files = write_pictures(data, folder / "pictures", settings.pictures)
        print(f"pictures: {len(files):,} PNG files in ten folders", flush=True)
        rounds = [_round(files, folder, data, number) for number in range(settings.rounds)]
        rows = _rows(data, folder, settings.rows)
    imports = [[_import(code) for code in IMPORTS] for _ in range(PAIRS)]
    return {
        **measurement("score", settings, data, warm_up=WARM_UP, repeats=settings.rounds),
        "rounds": rounds,
        "share_of_decoding": median(one["scored_per_second"] / one["decoded_per_second"] for one in rounds),
        "accuracy": rounds[0]["accuracy"],
        "rows": rows,
        "import_seconds": {code: median(pair[i] for pair in imports) for i, code in enumerate(IMPORTS)},
        "import_ratio": median(ours / bare for bare, ours in imports),
    }


def in_words(result: dict[str, Any]) -> str:
    """What came of it, and what was wanted."""
    rows, accuracy = result["rows"], result["accuracy"]
    return "\n".join(
        f"{what:<55}{value:>12}   {wanted}"
        for what, value, wanted in (
            ("pictures a second over those decoded alone", f"{result['share_of_decoding']:.0%}", "at least 70%"),
            ("accuracy of pictures, of raw arrays", f"{accuracy['pictures']:.2%}", f"{accuracy['arrays']:.2%}"),
            (f"MB of all processes, {rows['count']:,} rows of an .npz", f"{rows['peak_mb']:.0f}", "below 400"),
            ("rows of an .npz a second", f"{rows['count'] / rows['seconds']:,.0f}", ""),
            ("import of the client over numpy and grpc", f"{result['import_ratio']:.2f}", "at most 1.3"),
        )
    )


def write_pictures(data: Mnist, folder: Path, count: int) -> list[str]:
    """So many PNG files, the test digits over and over, each in its label's folder; in the order of a scoring."""
    paths = []
    for index in range(count):
        digit = index % len(data.x_test)
        path = folder / str(data.y_test[digit]) / f"{index:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.x_test[digit]).save(path)
        paths.append(str(path))
    return sorted(paths)


def _round(files: Sequence[str], folder: Path, data: Mnist, number: int) -> dict[str, Any]:
    """Both ways, in an order that changes from round to round."""
    found: dict[str, Any] = {}
    for way in (_decode, _score) if number % 2 else (_score, _decode):
        found |= way(files, folder, data)
    scored, decoded = found["scored_per_second"], found["decoded_per_second"]
    share = f"{scored:,.0f} scored a second, {decoded:,.0f} decoded: {scored / decoded:.0%}"
    print(f"round {number + 1}: {share}", flush=True)
    return found


def _decode(files: Sequence[str], _folder: Path, _data: Mnist) -> dict[str, Any]:
    """Pillow alone, in as many processes as there are cores, once all have begun."""
    cores = usable_cores()
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        sum(pool.map(decode, chunks[: 4 * cores]))
        began = time.perf_counter()
        count = sum(pool.map(decode, chunks))
        return {"decoded_per_second": count / (time.perf_counter() - began)}


def decode(paths: Sequence[str]) -> int:
    """Reads and decodes each file, and nothing else."""
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            np.asarray(picture)
    return len(paths)


def _score(files: Sequence[str], folder: Path, data: Mnist) -> dict[str, Any]:
    """The command as a user gives it. Its start is that of a run over few pictures, and does not count."""
    few = folder / "few.txt"
    few.write_text("\n".join(files[:FEW]))
    with few.open() as listed:
        _, start = _timed(["-", "--out", str(folder / "few.csv")], stdin=listed.fileno())
    out = folder / "table.csv"
    printed, whole = _timed([str(folder / "pictures"), "--out", str(out), "--labels", "from-folder"])
    right = sum(row.split(",")[1] == row.rsplit(",", 1)[1] for row in out.read_text().splitlines()[1:])
    return {
        "scored_per_second": (len(files) - FEW) / (whole - start),
        "start_seconds": start,
        "seconds": whole,
        "accuracy": {"pictures": right / len(files), "arrays": _raw_accuracy(data, len(files))},
        "summary": printed.splitlines()[0].partition(": ")[2],
    }


def _raw_accuracy(data: Mnist, count: int) -> float:
    """Of the bundled model on the arrays that the pictures were made of."""
    from digits.client.local import LocalClassifier

    classifier = LocalClassifier()
    blocks = [slice(start, start + 256) for start in range(0, len(data.x_test), 256)]
    right = np.concatenate([classifier.classify(data.x_test[block]).digits for block in blocks]) == data.y_test
    return float(np.resize(right, count).mean())


def _rows(data: Mnist, folder: Path, count: int) -> dict[str, Any]:
    """Scores an .npz of so many rows, and looks at the memory of all processes meanwhile."""
    file = folder / "rows.npz"
    np.savez_compressed(file, rows=np.resize(data.x_test, (count, 28, 28)))
    peak: list[float] = [0.0]
    _, seconds = _timed([str(file), "--out", str(folder / "rows.csv")], peak=peak)
    return {"count": count, "seconds": seconds, "peak_mb": peak[0]}


def _timed(
    arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL, peak: list[float] | None = None
) -> tuple[str, float]:
    """Runs `digits score`: what it printed, and its seconds. `peak` becomes the most memory of all its processes, MB.

    Raises:
        BenchmarkError: it failed.
    """
    command = [sys.executable, "-m", "digits.cli.app", "score", *arguments, "--overwrite"]
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 our own
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        ended = threading.Event()
        if peak is not None:
            threading.Thread(target=_watch, args=(process.pid, ended, peak)).start()
        printed, complaint = process.communicate()
        ended.set()
    if process.returncode:
        raise BenchmarkError(f"{shlex.join(command)} ended with {process.returncode}: {complaint}")
    return printed, time.perf_counter() - began


def _watch(pid: int, ended: threading.Event, peak: list[float]) -> None:
    while not ended.wait(LOOK):
        peak[0] = max(peak[0], resident_mb(pid))


def _import(code: str) -> float:
    """Seconds of a new interpreter that imports something."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 our own
    return time.perf_counter() - began
