"""The trials of a sweep and their order."""

from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

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
        own: dict[str, Any] = {"layers": (self.nodes,) * self.layers}
        return TrainSettings(
            **own, activation=self.activation, epochs=self.epochs, **{name: getattr(settings, name) for name in SHARED}
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates in their order, no two equal.

    Attributes:
        choices: The values of each hyperparameter.
        terms: What distinguishes it from other plans, as in JSON.
    """

    candidates: list[Candidate]
    choices: dict[str, tuple[Any, ...]]
    terms: dict[str, Any]


def plan(settings: SweepSettings, data_sha256: str) -> Plan:
    """The whole grid in order, or a choice from it by the seed, for the data with that checksum.

    Raises:
        LabError: there are fewer combinations than `settings.trials`.
    """
    choices: dict[str, tuple[Any, ...]] = {
        "layers": settings.layers,
        "nodes": settings.nodes,
        "activation": settings.activations,
        "epochs": settings.epochs,
    }
    grid = [Candidate(*values) for values in product(*choices.values())]
    if (settings.trials or 0) > len(grid):
        raise LabError(f"--trials {settings.trials}: the lists have only {len(grid):,} combinations; give no more")
    trials = settings.trials or (len(grid) if settings.sampler == "grid" else min(RANDOM_TRIALS, len(grid)))
    chosen = grid
    if settings.sampler == "random" or trials < len(grid):
        chosen = [grid[i] for i in np.random.default_rng(settings.seed).permutation(len(grid))[:trials]]
    others = {"out", "data", *(field.name for field in fields(ArraySettings))}  # the checksum is of their result
    terms = {name: value for name, value in asdict(settings).items() if name not in others}
    lists = {name: list(value) for name, value in terms.items() if isinstance(value, tuple)}
    return Plan(chosen, choices, terms | lists | {"trials": trials, DATA: data_sha256})
