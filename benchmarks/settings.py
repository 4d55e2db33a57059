"""The settings of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from digits.report.number_format import comma_list

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS, SPINNING, GRPCIO, ECHO, BASELINE = "ours", "spinning", "grpcio", "echo", "baseline"
TRITON, KSERVE, MLSERVER, RAY = "triton", "kserve", "mlserver", "ray"
MOSEC, LITSERVE, BENTOML = "mosec", "litserve", "bentoml"
SLOWED = "slowed"  # ours with a slow model, for the overload alone
HOUSE = (OURS, SPINNING, GRPCIO, ECHO, BASELINE)
PEERS = (TRITON, KSERVE, MLSERVER, RAY, MOSEC, LITSERVE, BENTOML)
SERVERS = HOUSE + PEERS


Generator = Literal["auto", "h2load", "asyncio"]


def _numbers(_type: object, tokens: Sequence[Token]) -> tuple[int, ...]:
    given = ",".join(token.value for token in tokens)
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in given.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise ValueError(f'"{given}" is no list of whole numbers from 1 on, such as 1,16,64')
    return numbers


Numbers = Annotated[tuple[int, ...], Parameter(converter=_numbers, n_tokens=1, show_default=comma_list)]


def _servers(_type: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    given = ",".join(token.value for token in tokens)  # several where a TOML file has a list
    parts = tuple(dict.fromkeys(part.strip() for part in given.split(",")))
    if unknown := [part for part in parts if part not in SERVERS]:
        raise ValueError(f'"{unknown[0]}" is no server to measure; give some of {comma_list(SERVERS)}')
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
class PeersBenchmarkSettings:
    """What `digits bench peers` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    servers: Annotated[tuple[str, ...], Parameter(converter=_servers, n_tokens=1, show_default=comma_list)] = SERVERS
    """Which servers: `ours`, also `spinning` (looking for calls for 100 us before it sleeps) and over `grpcio`; an
    `echo`; a plain grpc.aio server as
    the `baseline`; and the peers `triton`, `kserve`, `mlserver`, `ray`, `mosec`, `litserve`, `bentoml`."""

    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 3
    """How often each server is measured, in turn with the others."""

    seconds: Annotated[float, Parameter(validator=Number(gte=0.1))] = 3.0
    """Seconds of each measurement."""

    starts: Annotated[int, Parameter(validator=Number(gte=0))] = 5
    """How often the time from exec to ready is measured."""

    memory_requests: Annotated[int, Parameter(validator=Number(gte=0))] = 1_000_000
    """Calls after which the server's memory is measured, and after a fifth of them. 0 leaves it out."""

    overload_seconds: Annotated[float, Parameter(validator=Number(gte=0))] = 30.0
    """Seconds of 1.5 and 2 times as many calls as a server with a slowed model can answer. 0 leaves it out."""

    cache: Path = Path(".peers_cache")
    """Where a peer is installed if it is not there yet, each in a Python environment of its own: 0.2 to 0.6 GB."""

    out: Path = Path("runs/bench/peers.json")
    """The JSON file to write."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityBenchmarkSettings:
    """What `digits bench parity` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    models: Path | None = None
    """The repository whose newest version is measured. Default: the model that comes with digits."""

    quick: bool = False
    """Ten seconds: fewer images, and one server."""

    out: Path = Path("runs/bench/parity.json")
    """The JSON file to write; flipped images and figures lie beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBenchmarkSettings:
    """What `digits bench engine` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    models: Path | None = None
    """The repository whose newest version is measured. Default: the model that comes with digits."""

    batches: Annotated[tuple[int, ...], Parameter(converter=_numbers, n_tokens=1, show_default=False)] = ()
    """Images in a batch, 65536 at most. Default: 1,4,16,64,256,1024,4096."""

    threads: Annotated[tuple[int, ...], Parameter(converter=_numbers, n_tokens=1, show_default=False)] = ()
    """Threads that run the model; more than there are cores are left out. Default: 1,2."""

    repeats: Annotated[int | None, Parameter(validator=Number(gte=2))] = None
    """How often each is measured, in turn with the others: the more often, the shorter each time. Default: 5."""

    quick: bool = False
    """Ten seconds: where not given, batches of 1, 64 and 1024 on one thread, two repeats."""

    out: Path = Path("runs/bench/engine.json")
    """The JSON file to write; two figures lie beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBenchmarkSettings:
    """What `digits bench server` is told."""

    data: str | None = None
    """MNIST, as for `digits train`: the images that are sent."""

    models: Path | None = None
    """The repository that is served. Default: the model that comes with digits."""

    server: str | None = None
    """HOST:PORT of a server that runs. Default: one is started, once over each transport."""

    connections: Numbers = (1, 4, 16, 64)
    """Connections of the closed loop, with --streams calls at a time on each."""

    streams: Annotated[int, Parameter(validator=Number(gte=1))] = 1
    """Calls at a time on each connection."""

    rates: Annotated[tuple[int, ...], Parameter(converter=_numbers, n_tokens=1, show_default=False)] = ()
    """Calls a second of the open loop. Default: a quarter, a half and three quarters of what our own generator
    gets answered in a closed loop."""

    slo: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0
    """Milliseconds of the latency's 99th percentile, that bound the search for the highest rate."""

    seconds: Annotated[float, Parameter(validator=Number(gte=0.1))] = 1.0
    """Seconds of each measurement."""

    repeats: Annotated[int, Parameter(validator=Number(gte=1))] = 2
    """How often the closed loop is measured, in turn."""

    generator: Generator = "auto"
    """What makes the load of the closed loop: h2load where it is installed, or else a generator of our own."""

    seed: int = 0
    """Seed of the times at which the open loop calls, and of the order of mixed sizes."""

    quick: bool = False
    """Ten seconds: the native transport alone, fewer loads, and short measurements."""

    out: Path = Path("runs/bench/server.json")
    """The JSON file to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareBenchmarkSettings:
    """What `digits bench compare` is told."""

    limit: Annotated[float, Parameter(validator=Number(gt=0, lt=100))] = 5.0
    """Percent that B may be slower than A, in calls a second or in processor time a call; more, beyond noise, is exit
    code 1."""

    pairs: Annotated[int, Parameter(validator=Number(gte=5))] = 100
    """How often both are measured under each load, in turn. More tell smaller differences from noise."""

    seconds: Annotated[float, Parameter(validator=Number(gte=0.1))] = 0.1
    """Seconds of each measurement. Many short pairs tell more than few long ones: a disturbance meets both of a pair,
    or few of them."""

    seed: int = 0
    """Seed of the random numbers of the bootstrap, which gives the intervals."""

    quick: bool = False
    """Ten seconds: so few pairs that it is a first look, and no guard."""

    out: Path = Path("runs/bench/compare.json")
    """The JSON file to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBenchmarkSettings:
    """What `digits bench report` is told."""

    results: Path = Path("runs/bench")
    """The folder with the JSON files; the figures and report.html are written into it."""

    readme: Path | None = None
    """The Markdown to write. Default: README.md in that folder."""


BenchmarkSettings = (
    ExportBenchmarkSettings
    | TrainingBenchmarkSettings
    | PeersBenchmarkSettings
    | ScoreBenchmarkSettings
    | ParityBenchmarkSettings
    | EngineBenchmarkSettings
    | ServerBenchmarkSettings
    | CompareBenchmarkSettings
)
