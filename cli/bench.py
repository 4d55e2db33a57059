from __future__ import annotations

from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated

from cyclopts import Parameter

from digits.benchmarks.settings import (
    ExportBenchmarkSettings,
    ScoreBenchmarkSettings,
    ServerBenchmarkSettings,
    TrainingBenchmarkSettings,
)
from digits.cli.errors import CommandError
from digits.train.quiet import quiet_stderr

EXPORT = ExportBenchmarkSettings()
SCORE = ScoreBenchmarkSettings()
SERVER = ServerBenchmarkSettings()
TRAINING = TrainingBenchmarkSettings()


def export(*runs: Path, settings: Annotated[ExportBenchmarkSettings, Parameter(name="*")] = EXPORT) -> None:
    """Measures exported runs.

    Args:
        runs: The run folders.
        settings: How.
    """
    if not runs:
        raise CommandError("no run given; say `digits bench export RUN...`")
    from digits.benchmarks import export as benchmark
    from digits.benchmarks import measurement

    result = benchmark.run(runs, settings)
    if settings.out:
        measurement.write(result, settings.out)
        print(f"measured: {settings.out}")


def score(settings: Annotated[ScoreBenchmarkSettings, Parameter(name="*")] = SCORE) -> None:
    from digits.benchmarks import measurement
    from digits.benchmarks import score as benchmark

    result = benchmark.run(settings)
    print(benchmark.in_words(result))
    if settings.out:
        measurement.write(result, settings.out)
        print(f"measured: {settings.out}")


def server(settings: Annotated[ServerBenchmarkSettings, Parameter(name="*")] = SERVER) -> None:
    from digits.benchmarks import measurement
    from digits.benchmarks import server as benchmark

    result = benchmark.run(settings)
    if settings.out:
        measurement.write(result, settings.out)
        print(f"measured: {settings.out}")


def training(settings: Annotated[TrainingBenchmarkSettings, Parameter(name="*")] = TRAINING) -> None:
    with quiet_stderr():
        from digits.benchmarks import measurement
        from digits.benchmarks import training as benchmark

    result = benchmark.run(settings)
    print(benchmark.in_words(result))
    if settings.out:
        measurement.write(result, settings.out)
        print(f"measured: {settings.out}")
