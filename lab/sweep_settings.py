"""The settings of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from digits.images.settings import ArraySettings
from digits.report.number_format import comma_list
from digits.train.settings import Count  # noqa: TC001 the command line resolves it at run time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Converter = Callable[[object, Sequence[Token]], tuple[object, ...]]

DEEPEST = 20  # hidden layers; more are nodes by mistake, as `digits train --layers` takes them
MOST = 2**31 - 1


def _numbers(what: str, example: str, most: int) -> Converter:
    """Converts a comma list of different whole numbers from 1 to `most`."""

    def convert(_type: object, tokens: Sequence[Token]) -> tuple[int, ...]:
        given, parts = _parts(tokens)
        if not all(part.isdecimal() and len(part) <= len(str(most)) and 1 <= int(part) <= most for part in parts):
            raise ValueError(f'"{given}" is no list of {what}, each from 1 to {most}; give them as in {example}')
        return tuple(dict.fromkeys(map(int, parts)))

    return convert


def _names(_type: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    given, parts = _parts(tokens)
    if not all(parts):
        raise ValueError(f'"{given}" is no list of names; give them as in relu,tanh')
    return tuple(dict.fromkeys(parts))


def _parts(tokens: Sequence[Token]) -> tuple[str, list[str]]:
    given = ",".join(token.value for token in tokens)  # several where a TOML file has a list
    return given, [part.strip() for part in given.split(",")]


def _list(converter: Converter) -> Parameter:
    return Parameter(converter=converter, n_tokens=1, show_default=comma_list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings(ArraySettings):
    """What `digits sweep` is told. Everything else is as `digits train` has it by default."""

    out: Path = Path("runs/sweep")
    """The sweep's folder. The same call again goes on where the last one stopped."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    layers: Annotated[tuple[int, ...], _list(_numbers("numbers of hidden layers", "1,2,3", DEEPEST))] = (1, 2, 3)
    """Numbers of hidden layers to try."""

    nodes: Annotated[tuple[int, ...], _list(_numbers("node counts", "64,256", MOST))] = (64, 256, 512)
    """Nodes of each hidden layer to try."""

    activations: Annotated[tuple[str, ...], _list(_names)] = ("relu", "tanh")
    """Activations of the hidden layers to try, by Keras's names."""

    epochs: Annotated[tuple[int, ...], _list(_numbers("epoch counts", "5,10", MOST))] = (5, 10)
    """Passes over the training images to try."""

    sampler: Literal["grid", "random"] = "grid"
    """Try every combination of these lists, or a random choice of them, none twice."""

    trials: Count | None = None
    """How many combinations to try. Default: all for a grid, 20 for a random choice. A grid with fewer takes a random
    choice, too."""

    validation_split: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.1
    """Share of the training images kept for validation, stratified; they alone decide which combination is best."""

    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))] = 0
    """Of the random choice, and of each training."""
