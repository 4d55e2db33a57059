"""`digits score` compared with only decoding its pictures, in turn; its memory; and the time of the client's import.

The JSON has measurements of `digits score` and of `Pillow`, with a repeat for each round; of `rows`, an .npz that is
scored; and of `imports`, with the seconds of `import digits.client` and of `import numpy, grpc`.
"""

import multiprocessing
import shlex
import subprocess
import sys
import tempfile
import threading
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

PICTURES, DECODING, ROWS, IMPORTS = "digits score", "Pillow", "rows", "imports"
CHUNK = 128  # pictures that a process decodes in one task, as in a scoring
FEW = 1_000  # pictures of a run that consists of its start
BARE, CLIENT = "import numpy, grpc", "import digits.client"
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
        for number in range(settings.rounds):  # in an order that alternates
            ways = {PICTURES: _score, DECODING: _decode}
            for system in list(ways)[:: -1 if number % 2 else 1]:
                repeat = ways[system](files, folder, data)
                result.repeats(system, {}).append(repeat)
                print(f"round {number + 1}: {system} {repeat['pictures_per_second']:,.0f} pictures/s", flush=True)
        result.repeats(ROWS, {}).append(_score_rows(data, folder, settings.rows))
        for _ in range(PAIRS):
            result.repeats(IMPORTS, {}).append({"bare_seconds": _import(BARE), "client_seconds": _import(CLIENT)})
    result.show(section)


def write_pictures(data: Mnist, folder: Path, count: int) -> list[str]:
    """So many PNG files of the test digits, repeated as needed, in a folder for each label; in a scoring's order."""
    paths = []
    for index in range(count):
        digit = index % len(data.x_test)
        path = folder / str(data.y_test[digit]) / f"{index:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.x_test[digit]).save(path)
        paths.append(str(path))
    return sorted(paths)


def _decode(files: Sequence[str], _folder: Path, _data: Mnist) -> dict[str, float]:
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


def _score(files: Sequence[str], folder: Path, data: Mnist) -> dict[str, float]:
    """The command as a user gives it. The time of a run over few pictures, its start, is subtracted."""
    few = folder / "few.txt"
    few.write_text("\n".join(files[:FEW]))
    with few.open() as listed:
        start = _timed(["-", "--out", str(folder / "few.csv")], stdin=listed.fileno())
    out = folder / "table.csv"
    whole = _timed([str(folder / "pictures"), "--out", str(out), "--labels", "from-folder"])
    right = sum(row.split(",")[1] == row.rsplit(",", 1)[1] for row in out.read_text().splitlines()[1:])
    return {
        "pictures_per_second": (len(files) - FEW) / (whole - start),
        "start_seconds": start,
        "seconds": whole,
        "accuracy": right / len(files),
        "accuracy_of_arrays": _accuracy(data, len(files)),
    }


def _accuracy(data: Mnist, count: int) -> float:
    """Of the bundled model on the arrays that the pictures were made of."""
    classifier = LocalClassifier()
    blocks = [data.x_test[start : start + 256] for start in range(0, len(data.x_test), 256)]
    digits = np.concatenate([classifier.classify(block).digits for block in blocks])
    return float(np.resize(digits == data.y_test, count).mean())


def _score_rows(data: Mnist, folder: Path, count: int) -> dict[str, float]:
    """Scores an .npz of so many rows, and reads the memory of all processes meanwhile."""
    file = folder / "rows.npz"
    np.savez_compressed(file, rows=np.resize(data.x_test, (count, 28, 28)))
    peak: list[float] = [0.0]
    seconds = _timed([str(file), "--out", str(folder / "rows.csv")], peak=peak)
    return {"seconds": seconds, "rows_per_second": count / seconds, "peak_mb": peak[0]}


def _timed(arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL, peak: list[float] | None = None) -> float:
    """Runs `digits score` and returns its seconds; `peak` becomes the most memory of all its processes, MB.

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
        _, complaint = process.communicate()
        ended.set()
    if process.returncode:
        raise BenchmarkError(f"{shlex.join(command)} ended with {process.returncode}: {complaint}")
    return time.perf_counter() - began


def _watch(pid: int, ended: threading.Event, peak: list[float]) -> None:
    while not ended.wait(POLL):
        peak[0] = max(peak[0], resident_mb(pid))


def _import(code: str) -> float:
    """Seconds of a new interpreter that imports something."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 our own
    return time.perf_counter() - began
