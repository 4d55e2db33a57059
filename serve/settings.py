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
Microseconds = Annotated[int, Parameter(validator=Number(gte=0, lte=86400 * 10**6))]


def _require_count_or_auto(kind: object, value: object) -> None:
    """A validator of one kind only would be asked for the other too."""
    if value != "auto":
        Number(gte=1, lte=4096)(kind, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What `digits serve` is told."""

    models: Path | None = None
    """The model repository; its newest version is served. Default: the bundled model, which comes with digits."""

    address: str = "127.0.0.1:50051"
    """Where to listen: HOST:PORT (port 0 takes a free one, 0.0.0.0 is open to the network) or unix:PATH."""

    transport: Literal["auto", "native", "grpcio"] = "auto"
    """What carries the calls. `native`, a front in Rust, is ten times as fast, but takes a message in before it knows
    its size, which --max-memory bounds. `auto` takes it on loopback, a Unix socket, or with --trusted-network."""

    trusted_network: bool = False
    """Says that all who can reach the address are trusted, as behind a proxy or inside a cluster."""

    runtime_dir: Path | None = None
    """Where the native transport makes its private socket, in a folder that no other user may enter. $XDG_RUNTIME_DIR,
    $TMPDIR, /tmp and /dev/shm are tried after it: the first writable one is used."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. `auto` takes CUDA where it can and says why it cannot; `cuda` never falls back."""

    precision: Precision = "auto"
    """Which variant. `auto` takes the fastest one that answers on this host as it was published: int8 on most CPUs,
    fp16 on CUDA. Any other is served or the start fails."""

    workers: Annotated[int | Literal["auto"], Parameter(validator=_require_count_or_auto)] = 1
    """Processes that share the port, each with a model and limits of its own; the kernel gives each of them its part of
    the connections. `auto` is one for each core that this process may use, by its affinity and its cgroup's
    CPU quota, rounded up."""

    instances: Count = 1
    """Threads of a worker that run batches at a time. More than 1 pays where cores are idle and the model is slow."""

    threads: Count = 1
    """Threads of one run of the model on the CPU. Together the workers want workers x instances x threads cores."""

    max_batch_size: Count = 1024
    """Most images in one call, and in one batch."""

    max_queue_size: Count = 1024
    """Most calls that wait at a time, for each level of priority; more are refused at once. With grpcio each waiting
    call holds a thread; where a limit of processes or memory leaves fewer threads, fewer calls may wait."""

    max_queue_delay_microseconds: Microseconds = 0
    """How long a batch with room left may wait for others, counted from its oldest call. 0 waits for nobody."""

    priority_levels: Annotated[int, Parameter(validator=Number(gte=1, lte=16))] = 2
    """Levels of priority: 1 goes before 2, and so on."""

    default_priority_level: Count | None = None
    """The level of a call that names none, or none that there is. Default: the last one."""

    default_timeout_microseconds: Microseconds = 0
    """How long a call may wait for its batch; its own timeout and deadline can only shorten that. 0 is for ever."""

    max_message_bytes: Annotated[int, Parameter(validator=Number(gte=1024, lte=2**31 - 1))] = 16 * 1024 * 1024
    """Most bytes in one request message."""

    max_memory: Count = 512
    """Megabytes that callers may make a worker hold, beside what it holds when it is ready. Above that, the connections
    that sent most without an answer are ended. At least 4 times --max-message-bytes."""

    warmup: Annotated[bool, Parameter(negative="--no-warmup")] = True
    """Makes calls of all sizes to the server before it is ready, so that the first call is as fast as others. Several
    workers over grpcio go without."""

    spin_microseconds: Microseconds = 0
    """How long the native transport polls for the next call before it sleeps. 100 takes about 50 microseconds off a
    lone caller's call, and up to 100 of a core after each batch; an idle server sleeps, a busy one never polls."""

    lame_duck: Seconds = 1.0
    """Seconds, once told to stop, between health's NOT_SERVING and refusing calls: time for calls that are on their
    way to arrive, and for balancers to look away."""

    drain_timeout: Seconds = 30.0
    """Seconds that accepted calls then have to be answered in."""

    slow_down_microseconds: Annotated[Microseconds, Parameter(show=False)] = 0
    """For tests of overload: adds so much to each run of the model."""
