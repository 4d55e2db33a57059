"""What every benchmark's JSON says of itself: what was run, on what, where, by which versions."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.train.provenance import now, provenance
from digits.train.run_folder import write_json
from digits.train.settings import listed

if TYPE_CHECKING:
    from digits.benchmarks.settings import (
        ExportBenchmarkSettings,
        ScoreBenchmarkSettings,
        ServerBenchmarkSettings,
        TrainingBenchmarkSettings,
    )
    from digits.images.mnist import Mnist

    BenchmarkSettings = (
        ExportBenchmarkSettings | ScoreBenchmarkSettings | ServerBenchmarkSettings | TrainingBenchmarkSettings
    )


def measurement(name: str, settings: BenchmarkSettings, data: Mnist) -> dict[str, Any]:
    """The head of a benchmark's JSON; the paths of this machine are left out of it."""
    kept = {key: value for key, value in asdict(settings).items() if key not in {"cache", "data", "out"}}
    options = [f"--{key.replace('_', '-')} {_value(value)}" for key, value in kept.items()]
    return {
        "benchmark": name,
        "command": f"digits bench {name} {' '.join(options)}",
        "commit": _commit(),
        "finished": now(),
        "settings": kept,
        "data": {"sha256": data.sha256, "train": len(data.x_train), "test": len(data.x_test)},
        **provenance(),
    }


def write(result: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)


def _value(value: object) -> str:
    return listed(value) if isinstance(value, tuple) else str(value)


def _commit() -> str | None:
    """The checkout's commit, with a + if it has been changed since; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],  # noqa: S607 the one on the PATH
            cwd=here,
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
