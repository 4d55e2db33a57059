"""The Python environment of a peer, whose dependencies clash with ours: made when it is asked for, and kept."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"  # the environment's is ours
INSTALLED = "installed"  # the file that comes last, and says what
PATIENCE = 900.0  # seconds of one command


def install(folder: Path, requirements: Sequence[str]) -> None:
    """Makes the environment if it is not there yet, with the same ONNX Runtime as here.

    Raises:
        BenchmarkError: a package cannot be had.
        OSError: the folder cannot be written.
    """
    packages = [*requirements, _onnxruntime(), "numpy"]
    wanted, installed = f"{' '.join(packages)} {PYTHON}\n", folder / INSTALLED
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    print(f"installing {requirements[0]} into {folder}, a minute or two ...", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)], "a Python environment")
    pip = [str(folder / "bin" / PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *packages], requirements[0])
    installed.write_text(wanted, encoding="utf-8")


def _onnxruntime() -> str:
    """The same as here, if that is the one for the CPU."""
    try:
        return f"onnxruntime=={version('onnxruntime')}"
    except PackageNotFoundError:
        return "onnxruntime"


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603 our own
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{what} could not be installed in {PATIENCE:g} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        raise BenchmarkError(f"{what} cannot be installed: {said}")
