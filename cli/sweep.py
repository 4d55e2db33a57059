from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from digits.lab.settings import SweepSettings
from digits.storage.text import one_line


def sweep(settings: Annotated[SweepSettings, Parameter(name="*")] = SweepSettings()) -> None:
    """Train with many combinations of layers, nodes, activations and epochs, and report which of them matter.

    ```
    digits sweep --layers 1,2 --nodes 64,256 --activations relu,tanh --epochs 5,10
    digits sweep --sampler random --trials 30 --out runs/wide
    ```

    Networks are compared by their accuracy on the validation split; the test images are not used. Ctrl-C keeps the
    finished trials, and the same command continues with the others.
    """
    from digits.lab import sweep_report
    from digits.lab.sweep import sweep as run_sweep

    result = run_sweep(settings)
    print(f"\n{sweep_report.shown(result)}\n")
    for number, why in result.failures.items():
        print(f"trial {number} could not be trained: {why}")
    for name, why in sweep_report.not_drawn(result).items():
        print(f"{name}: {why}")
    print(f"report: {one_line(sweep_report.write(result, settings))}")
    print(f"best: {sweep_report.best(result)}")
    print(f"next: {sweep_report.training_command(result, settings)}")
