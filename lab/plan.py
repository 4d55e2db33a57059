"""The trials of a sweep and their order."""

from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from digits.images.settings import ArraySettings
from digits.lab.errors import LabError
from digits.lab.settings import SweepSettings
from digits.train.settings import TrainSettings

RANDOM_TRIALS = 20
DATA = "data_sha256"
SHARED = ("data", "validation_split", "seed", *(field.name for field in fields(ArraySettings)))  # with each training


@dataclass(frozen=True, slots=True)
class Candidate:
    """A combination of hyperparameters."""

    layers: int
    nodes: int
    activation: str
    epochs: int

    def __str__(self) -> str:
        return f"{self.layers} x {self.nodes} {self.activation}, {self.epochs} epoch{'s' * (self.epochs > 1)}"

    def training(self, settings: SweepSettings) -> TrainSettings:
        """The settings with which `digits train` trains it."""
        shared: dict[str, Any] = {name: getattr(settings, name) for name in SHARED}
        layers = (self.nodes,) * self.layers
        return TrainSettings(layers=layers, activation=self.activation, epochs=self.epochs, **shared)


class Plan(NamedTuple):
    """The candidates in their order, no two equal, and what distinguishes the plan from others, as in JSON."""

    candidates: list[Candidate]
    terms: dict[str, Any]


def plan(settings: SweepSettings, data_sha256: str) -> Plan:
    """The whole grid in order, or a choice from it by the seed, for the data with that checksum.

    Raises:
        LabError: there are fewer combinations than `settings.trials`.
    """
    lists = (settings.layers, settings.nodes, settings.activations, settings.epochs)
    grid = [Candidate(*values) for values in product(*lists)]
    if (settings.trials or 0) > len(grid):
        raise LabError(f"--trials {settings.trials}: the lists have only {len(grid):,} combinations; give no more")
    trials = settings.trials or (len(grid) if settings.sampler == "grid" else min(RANDOM_TRIALS, len(grid)))
    if settings.sampler == "random" or trials < len(grid):
        grid = [grid[i] for i in np.random.default_rng(settings.seed).permutation(len(grid))[:trials]]
    others = {"out", "data", *(field.name for field in fields(ArraySettings))}  # the checksum is of their result
    terms = {name: value for name, value in asdict(settings).items() if name not in others}
    terms = {name: list(value) if isinstance(value, tuple) else value for name, value in terms.items()}
    return Plan(grid, terms | {"trials": trials, DATA: data_sha256})
