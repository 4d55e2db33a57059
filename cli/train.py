from __future__ import annotations

import shlex
from typing import Annotated

from cyclopts import Parameter

from digits.storage.text import one_line
from digits.train.settings import TrainSettings

DEFAULTS = TrainSettings()


def train(settings: Annotated[TrainSettings, Parameter(name="*")] = DEFAULTS) -> None:
    from digits.train.training import train as run_training

    run = run_training(settings)
    print(f"report: {one_line(run.folder / 'report.html')}")
    print(f"run: {one_line(run.folder)}")
    print(f"next: digits export {shlex.quote(str(run.folder))}")
