from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from digits.cli.errors import CommandError
from digits.cli.settings import DemoSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from digits.images.mnist import Mnist

DIGITS = (sys.executable, "-m", "digits.cli.app")


def demo(settings: Annotated[DemoSettings, Parameter(name="*")] = DemoSettings()) -> None:
    """Train, export, serve, classify and score real digits, one command after the other.

    ```
    digits demo --out demo
    ```
    """
    from digits.images import mnist

    run, models, pictures = settings.out / "run", settings.out / "models", settings.out / "pictures"
    table, sheet = settings.out / "table.csv", settings.out / "least-certain.png"
    data = mnist.load(settings.data, download=False)
    seconds: dict[str, float] = {}
    with _stage("train", seconds):
        _digits("train", "--out", run, "--overwrite", "--data", data.location)
    with _stage("export", seconds):
        _digits("export", run, "--models", models)
    with _stage("draw", seconds):
        files = _write_pictures(data, pictures, settings.pictures)
    with _stage("serve, classify and score", seconds), _server(models) as address:
        _digits("classify", files[0], "--server", address, "--show")
        written = ("--out", table, "--overwrite", "--contact-sheet", sheet)
        _digits("score", pictures, "--labels", "from-folder", "--server", address, *written)
    print()
    _print_evidence(models)
    print("time:     " + ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items()))
    print(f"files:    {run}, {models}, {pictures}, {table}, {sheet}")


@contextmanager
def _stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"\n== {name} ==", flush=True)
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def _digits(*arguments: object) -> None:
    """Runs a command as its user would. Raises CommandError if it failed; it has said why itself."""
    with _process(*arguments, stdout=None) as process:
        code = process.wait()
    if code:
        raise CommandError(f"`digits {arguments[0]}` ended with exit code {code}")


@contextmanager
def _process(*arguments: object, stdout: int | None) -> Iterator[subprocess.Popen[str]]:
    """A command with the settings it is given and no others; told to stop, and waited for, if it still runs in the end.

    Ctrl-C is ours alone: a command that gets it from the terminal and from us would be cut short as it cleans up.
    """
    words = [*map(str, arguments)]
    print(f"$ digits {' '.join(words)}", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}
    with subprocess.Popen([*DIGITS, *words], stdout=stdout, text=True, env=environment, process_group=0) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def _write_pictures(data: Mnist, folder: Path, count: int) -> list[Path]:
    """The first test digits as PNG files, named by their index, each in the folder of its label."""
    from PIL import Image

    files = [folder / str(label) / f"{index:04}.png" for index, label in enumerate(data.y_test[:count])]
    for file, digit in zip(files, data.x_test, strict=False):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(file)
    print(f"{len(files)} test digits as PNG files in {folder}")
    return files


@contextmanager
def _server(models: Path) -> Iterator[str]:
    """The address of a server of its own, on a free port; it is drained in the end."""
    with _process("serve", "--models", models, "--address", "127.0.0.1:0", stdout=subprocess.PIPE) as process:
        ready = process.stdout.readline() if process.stdout else ""
        if not ready:
            raise CommandError(f"`digits serve` ended with exit code {process.wait()}")
        print(ready, end="", flush=True)
        yield ready.split()[-1]


def _print_evidence(models: Path) -> None:
    from digits.model.manifest import FP32
    from digits.model.repository import Repository

    model = Repository(models).open()
    manifest, evidence = model.manifest, model.manifest.variants[FP32]
    same = round(evidence.argmax_agreement * manifest.test_images)
    print(f"model:    {model.folder}")
    print(f"accuracy: {evidence.accuracy:.2%} of {manifest.test_images:,} test images ({manifest.test_source})")
    print(f"parity:   max |dp| {evidence.max_abs_diff:.2g}, argmax {same:,} of {manifest.test_images:,}, with Keras")
    for name, variant in manifest.variants.items():
        microseconds = variant.seconds_per_image["64"] * 1e6
        print(f"{name}:     {variant.accuracy:.2%}, {microseconds:.1f} us an image in batches of 64")
