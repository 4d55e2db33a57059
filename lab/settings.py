"""The settings of comparisons and sweeps."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.images.settings import ArraySettings, list_option
from digits.train.settings import Count

DEEPEST = 20  # hidden layers; a larger number is meant as nodes, as `digits train --layers` takes them
MOST = 2**31 - 1


def _numbers(what: str, example: str, most: int = MOST) -> Parameter:
    """A list of different whole numbers from 1 to `most`."""

    def parse(given: str, parts: list[str]) -> Iterable[int]:
        if not all(part.isdecimal() and len(part) <= len(str(most)) and 1 <= int(part) <= most for part in parts):
            raise ValueError(f'"{given}" is not a list of {what}, each from 1 to {most}; give them as in {example}')
        return dict.fromkeys(map(int, parts))

    return list_option(parse)


def _names(given: str, parts: list[str]) -> Iterable[str]:
    if not all(parts):
        raise ValueError(f'"{given}" is not a list of names; give them as in relu,tanh')
    return dict.fromkeys(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """The settings of `digits compare`."""

    out: Path = Path("runs/comparison")
    """The folder for comparison.html, comparison.png and comparison.json; those of an earlier comparison are
    replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings(ArraySettings):
    """The settings of `digits sweep`. All others are the defaults of `digits train`."""

    out: Path = Path("runs/sweep")
    """The sweep's folder. The same command again continues where the last one stopped."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    layers: Annotated[tuple[int, ...], _numbers("numbers of hidden layers", "1,2,3", DEEPEST)] = (1, 2, 3)
    """Numbers of hidden layers to try."""

    nodes: Annotated[tuple[int, ...], _numbers("node counts", "64,256")] = (64, 256, 512)
    """Nodes of each hidden layer to try."""

    activations: Annotated[tuple[str, ...], list_option(_names)] = ("relu", "tanh")
    """Activations of the hidden layers to try, by Keras's names."""

    epochs: Annotated[tuple[int, ...], _numbers("epoch counts", "5,10")] = (5, 10)
    """Passes over the training images to try."""

    sampler: Literal["grid", "random"] = "grid"
    """Try every combination of these lists, or a random choice of them, none twice."""

    trials: Count | None = None
    """How many combinations to try. Default: all for a grid, 20 for a random choice. A grid with fewer takes a random
    choice, too."""

    validation_split: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.1
    """Share of the training images kept for validation, stratified; only they decide which combination is best."""

    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))] = 0
    """Of the random choice, and of each training."""
