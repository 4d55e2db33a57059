"""What a sweep is to try, in which order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.images.settings import ArraySettings
from digits.lab.errors import LabError
from digits.train.settings import TrainSettings

if TYPE_CHECKING:
    from digits.lab.sweep_settings import SweepSettings

RANDOM_TRIALS = 20
DATA = "data_sha256"


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
        """How `digits train` is told the same."""
        return TrainSettings(
            data=settings.data,
            pixel_range=settings.pixel_range,
            invert=settings.invert,
            transpose=settings.transpose,
            layers=(self.nodes,) * self.layers,
            activation=self.activation,
            epochs=self.epochs,
            validation_split=settings.validation_split,
            seed=settings.seed,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates in their order, no two alike.

    Attributes:
        choices: The values of each hyperparameter that they are combined of.
        terms: What makes it this plan and no other, as JSON has it.
    """

    candidates: list[Candidate]
    choices: dict[str, tuple[Any, ...]]
    terms: dict[str, Any]


def plan(settings: SweepSettings, data_sha256: str) -> Plan:
    """The whole grid as it is listed, or a choice of it by the seed, on the data of that hash.

    Raises:
        LabError: there are fewer combinations than trials asked for.
    """
    choices: dict[str, tuple[Any, ...]] = {
        "layers": settings.layers,
        "nodes": settings.nodes,
        "activation": settings.activations,
        "epochs": settings.epochs,
    }
    every = [Candidate(*values) for values in product(*choices.values())]
    if (settings.trials or 0) > len(every):
        raise LabError(f"--trials {settings.trials}: the lists have only {len(every):,} combinations; give no more")
    trials = settings.trials or (len(every) if settings.sampler == "grid" else min(RANDOM_TRIALS, len(every)))
    if settings.sampler == "grid" and trials == len(every):
        chosen = every
    else:
        chosen = [every[i] for i in np.random.default_rng(settings.seed).permutation(len(every))[:trials]]
    others = {"out", "data", *(field.name for field in fields(ArraySettings))}  # the hash is of what they lead to
    terms = {name: value for name, value in asdict(settings).items() if name not in others}
    lists = {name: list(value) for name, value in terms.items() if isinstance(value, tuple)}
    return Plan(chosen, choices, terms | lists | {"trials": trials, DATA: data_sha256})
