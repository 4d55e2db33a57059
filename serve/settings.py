"""The settings of the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.model.manifest import Precision  # noqa: TC001 the command line resolves it at run time

Count = Annotated[int, Parameter(validator=Number(gte=1, lte=2**31 - 1))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0, lte=86400))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What `digits serve` is told."""

    models: Path | None = None
    """The model repository; its newest version is served. Default: the model in the box, which comes with digits."""

    address: str = "127.0.0.1:50051"
    """Where to listen: HOST:PORT (port 0 takes a free one, 0.0.0.0 is open to the network) or unix:PATH."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. `auto` takes CUDA where it can and says why it cannot; `cuda` never falls back."""

    precision: Precision = "auto"
    """Which variant. `auto` takes the fastest one that answers on this host as it was published: int8 on most CPUs,
    fp16 on CUDA. Any other is served or the start fails."""

    threads: Count = 1
    """Threads of one run of the model on the CPU."""

    max_batch_size: Count = 1024
    """Most images in one call, and in one batch."""

    max_queue_size: Count = 1024
    """Most calls that wait at a time; more are refused at once. Each waiting call holds a thread and its pixels."""

    max_message_bytes: Annotated[int, Parameter(validator=Number(gte=1024, lte=2**31 - 1))] = 16 * 1024 * 1024
    """Most bytes in one request message."""

    lame_duck: Seconds = 1.0
    """Seconds, once told to stop, between health's NOT_SERVING and refusing calls: time for calls that are on their
    way to arrive, and for balancers to look away."""

    drain_timeout: Seconds = 30.0
    """Seconds that accepted calls then have to be answered in."""
