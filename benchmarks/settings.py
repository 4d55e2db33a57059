"""The settings of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from digits.train.settings import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS, SPINNING, GRPCIO, ECHO, BASELINE, TRITON = "ours", "spinning", "grpcio", "echo", "baseline", "triton"
SLOWED = "slowed"  # ours with a slow model, for the overload alone
SERVERS = (OURS, SPINNING, GRPCIO, ECHO, BASELINE, TRITON)


def _servers(_type: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    given = ",".join(token.value for token in tokens)  # several where a TOML file has a list
    parts = tuple(dict.fromkeys(part.strip() for part in given.split(",")))
    if unknown := [part for part in parts if part not in SERVERS]:
        raise ValueError(f'"{unknown[0]}" is no server to measure; give some of {listed(SERVERS)}')
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportBenchmarkSettings:
    """What `digits bench export` is told."""

    data: str | None = None
    """Where the runs' own MNIST lies, if it has been moved."""

    rounds: Annotated[int, Parameter(validator=Number(gte=2))] = 25
    """How often each variant is measured, in turn with the others."""

    out: Path | None = None
    """The JSON file to write. Default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBenchmarkSettings:
    """What `digits bench training` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 10
    """Epochs of each training."""

    repeats: Annotated[int, Parameter(validator=Number(gte=1))] = 3
    """Pairs of trainings, with the seeds 0, 1, 2, ..."""

    out: Path | None = None
    """The JSON file to write. Default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBenchmarkSettings:
    """What `digits bench server` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    servers: Annotated[tuple[str, ...], Parameter(converter=_servers, n_tokens=1, show_default=listed)] = SERVERS
    """Which servers: `ours`, also `spinning` before it sleeps and over `grpcio`; an `echo`; a plain grpc.aio server as
    the `baseline`; and `triton`."""

    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 5
    """How often each server is measured, in turn with the others."""

    seconds: Annotated[float, Parameter(validator=Number(gte=0.1))] = 3.0
    """Seconds of each measurement."""

    starts: Annotated[int, Parameter(validator=Number(gte=0))] = 5
    """How often the time from exec to ready is measured."""

    memory_requests: Annotated[int, Parameter(validator=Number(gte=0))] = 1_000_000
    """Calls after which the server's memory is measured, and after a fifth of them. 0 leaves it out."""

    overload_seconds: Annotated[float, Parameter(validator=Number(gte=0))] = 30.0
    """Seconds of 1.5 and 2 times as many calls as a server with a slowed model can answer. 0 leaves it out."""

    cache: Path = Path(".triton_cache")
    """Where Triton is installed if it is not there yet, in a Python environment of its own: half a gigabyte."""

    out: Path | None = None
    """The JSON file to write. Default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBenchmarkSettings:
    """What `digits bench score` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    pictures: Annotated[int, Parameter(validator=Number(gte=2000))] = 100_000
    """PNG files that are scored."""

    rows: Annotated[int, Parameter(validator=Number(gte=1))] = 1_000_000
    """Rows of the .npz that is scored."""

    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 3
    """How often scoring and decoding are measured, in turn."""

    out: Path | None = None
    """The JSON file to write. Default: none."""
