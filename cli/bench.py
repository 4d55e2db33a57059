from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from digits.benchmarks.settings import TrainingBenchmarkSettings
from digits.cli.quiet import quiet_stderr

TRAINING = TrainingBenchmarkSettings()


def training(settings: Annotated[TrainingBenchmarkSettings, Parameter(name="*")] = TRAINING) -> None:
    with quiet_stderr():
        from digits.benchmarks import measurement
        from digits.benchmarks import training as benchmark

    result = benchmark.run(settings)
    print(benchmark.in_words(result))
    if settings.out:
        measurement.write(result, settings.out)
        print(f"measured: {settings.out}")
