from __future__ import annotations

import shlex
from typing import Annotated

from cyclopts import Parameter

from digits.storage.text import one_line
from digits.train.settings import TrainSettings

DEFAULTS = TrainSettings()


def train(settings: Annotated[TrainSettings, Parameter(name="*")] = DEFAULTS) -> None:
    """Train the network on MNIST, into a run folder.

    ```
    digits train --out runs/first
    digits train --out runs/deeper --layers 512,256,128 --epochs 20 --data path/to/mnist.npz
    digits train --out runs/best --recipe best
    ```

    Writes model.keras, the learning curves (history.json), the predictions for the test images (predictions.npz), and
    report.html, which shows what the model has learnt and which digits it gets wrong.

    Ctrl-C keeps the last completed epoch. `digits train --resume runs/deeper` continues from there, with the same
    result as an uninterrupted training.
    """
    from digits.train.training import train as run_training

    run = run_training(settings)
    print(f"report: {one_line(run.folder / 'report.html')}")
    print(f"run: {one_line(run.folder)}")
    print(f"next: digits export {shlex.quote(str(run.folder))}")
