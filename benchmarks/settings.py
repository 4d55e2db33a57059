"""The settings of the benchmarks."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.images.settings import list_option
from digits.report.number_format import comma_list

OURS, SPINNING, GRPCIO, ECHO, BASELINE = OWN = ("ours", "spinning", "grpcio", "echo", "baseline")
SLOWED = "slowed"  # ours with a slow model, for the overload only
PEERS = ("triton", "kserve", "mlserver", "ray", "mosec", "litserve", "bentoml")
TRITON, KSERVE, MLSERVER, RAY, MOSEC, LITSERVE, BENTOML = PEERS
SERVERS = OWN + PEERS

Positive = Annotated[int, Parameter(validator=Number(gte=1))]
Duration = Annotated[float, Parameter(validator=Number(gte=0.1))]


def _numbers(given: str, parts: list[str]) -> Iterable[int]:
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) < len(parts) or min(numbers) < 1:
        raise ValueError(f'"{given}" is not a list of whole numbers of at least 1, such as 1,16,64')
    return dict.fromkeys(numbers)


def _servers(_given: str, parts: list[str]) -> Iterable[str]:
    if unknown := [part for part in parts if part not in SERVERS]:
        raise ValueError(f'"{unknown[0]}" is not a server; give some of {comma_list(SERVERS)}')
    return dict.fromkeys(parts)


Numbers = Annotated[tuple[int, ...], list_option(_numbers)]
Choice = Annotated[tuple[int, ...], list_option(_numbers, show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What all benchmarks have in common."""

    quick: bool = False
    """A first look in seconds: few and short measurements."""
    out: Path | None = None
    """The JSON file to write; figures are written next to it. Default: runs/bench/NAME.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common(Output):
    """What all benchmarks that use images have in common."""

    data: str | None = None
    """MNIST, as for `digits train`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportBenchmarkSettings(Common):
    """The settings of `digits bench export`."""

    data: str | None = None
    """Where the MNIST file of the runs is, if it has been moved."""
    rounds: Annotated[int, Parameter(validator=Number(gte=2))] = 25
    """How often each variant is measured, in turn with the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBenchmarkSettings(Common):
    """The settings of `digits bench training`."""

    epochs: Positive = 10
    """Epochs of each training."""
    repeats: Positive = 3
    """Pairs of trainings, with the seeds 0, 1, 2, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersBenchmarkSettings(Common):
    """The settings of `digits bench peers`."""

    servers: Annotated[tuple[str, ...], list_option(_servers)] = SERVERS
    """Which servers: `ours`, also `spinning` (polls for calls for 100 us before it sleeps) and over `grpcio`; an
    `echo`; a plain grpc.aio server as
    the `baseline`; and the peers `triton`, `kserve`, `mlserver`, `ray`, `mosec`, `litserve`, `bentoml`."""
    rounds: Positive = 3
    """How often each server is measured, in turn with the others."""
    seconds: Duration = 3.0
    """Seconds of each measurement."""
    starts: Annotated[int, Parameter(validator=Number(gte=0))] = 5
    """How often the time from exec to ready is measured."""
    memory_requests: Annotated[int, Parameter(validator=Number(gte=0))] = 1_000_000
    """Calls after which the server's memory is measured, and after each fifth of them. 0 leaves it out."""
    overload_seconds: Annotated[float, Parameter(validator=Number(gte=0))] = 30.0
    """Seconds of 1.5 and 2 times as many calls as a server with a slowed model can answer. 0 leaves it out."""
    cache: Path = Path(".peers_cache")
    """Where a peer is installed if it is not there yet, each in its own Python environment: 0.2 to 0.6 GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBenchmarkSettings(Common):
    """The settings of `digits bench score`."""

    pictures: Annotated[int, Parameter(validator=Number(gte=2000))] = 100_000
    """PNG files that are scored."""
    rows: Positive = 1_000_000
    """Rows of the .npz that is scored."""
    rounds: Positive = 3
    """How often scoring and decoding are measured, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOfModel(Common):
    """What the benchmarks of a published version have in common."""

    models: Path | None = None
    """The repository whose newest version is measured. Default: the bundled model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityBenchmarkSettings(CommonOfModel):
    """The settings of `digits bench parity`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBenchmarkSettings(CommonOfModel):
    """The settings of `digits bench engine`."""

    batches: Choice = ()
    """Images in a batch, 65536 at most. Default: 1,4,16,64,256,1024,4096."""
    threads: Choice = ()
    """Threads that run the model; more than there are cores are left out. Default: 1,2."""
    repeats: Annotated[int | None, Parameter(validator=Number(gte=2))] = None
    """How often each is measured, in turn with the others: the more often, the shorter each time. Default: 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBenchmarkSettings(CommonOfModel):
    """The settings of `digits bench server`."""

    server: str | None = None
    """HOST:PORT of a running server. Default: one is started for each transport."""
    connections: Numbers = (1, 4, 16, 64)
    """Connections of the closed loop, with --streams concurrent calls on each."""
    streams: Positive = 1
    """Concurrent calls on each connection."""
    rates: Choice = ()
    """Calls a second of the open loop. Default: a quarter, a half and three quarters of what our own generator
    reaches in a closed loop."""
    slo: Annotated[float, Parameter(validator=Number(gt=0))] = 10.0
    """The service level objective: milliseconds of the 99th percentile of the latency, for the highest rate."""
    seconds: Duration = 1.0
    """Seconds of each measurement."""
    repeats: Positive = 2
    """How often the closed loop is measured, in turn."""
    generator: Literal["auto", "h2load", "asyncio"] = "auto"
    """The load generator of the closed loop: h2load where it is installed, otherwise our own."""
    seed: int = 0
    """Seed of the times at which the open loop calls, and of the order of mixed sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareBenchmarkSettings(Output):
    """The settings of `digits bench compare`."""

    limit: Annotated[float, Parameter(validator=Number(gt=0, lt=100))] = 5.0
    """Percent that B may be slower than A, in calls a second or in processor time a call; more, beyond noise, is exit
    code 1."""
    pairs: Annotated[int, Parameter(validator=Number(gte=5))] = 100
    """How often both are measured under each load, in turn. More pairs tell smaller differences from noise."""
    seconds: Duration = 0.1
    """Seconds of each measurement. Many short pairs tell more than few long ones: a disturbance hits both of a pair,
    or few pairs."""
    seed: int = 0
    """Seed of the random numbers of the bootstrap, which gives the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBenchmarkSettings:
    """The settings of `digits bench report`."""

    results: Path = Path("runs/bench")
    """The folder with the JSON files; the figures and report.html are written to it."""
    readme: Path | None = None
    """The Markdown file to write. Default: README.md in that folder."""
