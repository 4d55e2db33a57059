from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from digits.benchmarks.settings import (
    CompareBenchmarkSettings,
    EngineBenchmarkSettings,
    ExportBenchmarkSettings,
    ParityBenchmarkSettings,
    PeersBenchmarkSettings,
    ReportBenchmarkSettings,
    ScoreBenchmarkSettings,
    ServerBenchmarkSettings,
    TrainingBenchmarkSettings,
)
from digits.cli.errors import CommandError

Given = Annotated[Path, Parameter(show_env_var=False)]

COMPARE = CompareBenchmarkSettings()
ENGINE = EngineBenchmarkSettings()
EXPORT = ExportBenchmarkSettings()
PARITY = ParityBenchmarkSettings()
PEERS = PeersBenchmarkSettings()
REPORT = ReportBenchmarkSettings()
SCORE = ScoreBenchmarkSettings()
SERVER = ServerBenchmarkSettings()
TRAINING = TrainingBenchmarkSettings()


def parity(
    run: Path | None = None, /, settings: Annotated[ParityBenchmarkSettings, Parameter(name="*")] = PARITY
) -> None:
    """Compares the variants with Keras.

    Args:
        run: The run folder that the version was exported from, whose model.keras is Keras then. Default: the network is
            rebuilt from the weights of fp32, and checked with the answers that were recorded at the export.
        settings: The settings.
    """
    from digits.benchmarks.parity import benchmark

    benchmark.run(run, settings)


def engine(settings: Annotated[EngineBenchmarkSettings, Parameter(name="*")] = ENGINE) -> None:
    from digits.benchmarks.engine import benchmark

    benchmark.run(settings)


def server(settings: Annotated[ServerBenchmarkSettings, Parameter(name="*")] = SERVER) -> None:
    from digits.benchmarks.server import benchmark

    benchmark.run(settings)


def compare(a: Given, b: Given, /, settings: Annotated[CompareBenchmarkSettings, Parameter(name="*")] = COMPARE) -> int:
    """Tells whether B is slower than A.

    Args:
        a: A wheel, a folder with the sources or with an installation, or a JSON file of `digits bench server`.
        b: The same of what may be slower.
        settings: The settings.
    """
    benchmark = _of_checkout("compare.benchmark")
    return int(benchmark.run(a, b, settings))


def report(settings: Annotated[ReportBenchmarkSettings, Parameter(name="*")] = REPORT) -> None:
    _of_checkout("report.report").run(settings)


def export(*runs: Path, settings: Annotated[ExportBenchmarkSettings, Parameter(name="*")] = EXPORT) -> None:
    """Measures exported runs.

    Args:
        runs: The run folders.
        settings: The settings.
    """
    if not runs:
        raise CommandError("no run given; say `digits bench export RUN...`")
    from digits.benchmarks import export as benchmark

    benchmark.run(runs, settings)


def score(settings: Annotated[ScoreBenchmarkSettings, Parameter(name="*")] = SCORE) -> None:
    from digits.benchmarks import score as benchmark

    benchmark.run(settings)


def peers(settings: Annotated[PeersBenchmarkSettings, Parameter(name="*")] = PEERS) -> None:
    benchmark = _of_checkout("peers.benchmark")
    benchmark.run(settings)


def training(settings: Annotated[TrainingBenchmarkSettings, Parameter(name="*")] = TRAINING) -> None:
    from digits.benchmarks import training as benchmark

    benchmark.run(settings)


def _of_checkout(name: str) -> Any:
    """A module that the wheel does not contain. Raises CommandError if it is missing."""
    try:
        return import_module(f"digits.benchmarks.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("digits.benchmarks."):
            raise
        command = f"digits bench {name.partition('.')[0]}"
        raise CommandError(f"{command} is not in the wheel; run it from a checkout (pip install -e .)") from error
