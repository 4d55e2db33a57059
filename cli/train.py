from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

from cyclopts import CycloptsError, Parameter
from cyclopts.config import Dict

from digits.storage.text import one_line
from digits.train.recipes import RECIPES
from digits.train.settings import TrainSettings

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

WITH_RESUME = {"--resume", "--finish", "--data"}


def train(settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings()) -> None:
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


def _check(_app: App, arguments: ArgumentCollection) -> None:
    """Rejects settings on the command line together with --resume, which would ignore them."""
    for argument in arguments if arguments["--resume"].tokens else ():
        if argument.tokens and argument.name not in WITH_RESUME:
            raise CycloptsError(msg=f"{argument.name}: a resumed run keeps its own settings; leave it out")


def _fill(app: App, arguments: ArgumentCollection) -> None:
    """Settings of the recipe, after the command line, the environment and digits.toml."""
    chosen = [token.value for token in arguments["--recipe"].tokens]
    if chosen and chosen[-1] in RECIPES:
        Dict(RECIPES[chosen[-1]], source=f"recipe {chosen[-1]}", use_commands_as_keys=False)(app, ("train",), arguments)
