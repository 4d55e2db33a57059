"""The settings of the server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.model.manifest import Precision
from digits.serve.errors import StartError

MB = 2**20  # bytes
Count = Annotated[int, Parameter(validator=Number(gte=1, lte=2**31 - 1))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0, lte=86400))]
Microseconds = Annotated[int, Parameter(validator=Number(gte=0, lte=86400 * 10**6))]


def _require_count_or_auto(kind: object, value: object) -> None:
    """A validator of one type only would be called with the other type too."""
    if value != "auto":
        Number(gte=1, lte=4096)(kind, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What `digits serve` is told. Queue, transports and the descriptions of the server read their limits from here."""

    models: Path | None = None
    """The model repository; its newest version is served. Default: the bundled model, which comes with digits."""

    address: str = "127.0.0.1:50051"
    """Where to listen: HOST:PORT (port 0 takes a free one, 0.0.0.0 is open to the network) or unix:PATH."""

    transport: Literal["auto", "native", "grpcio"] = "auto"
    """What carries the calls. `native`, an HTTP/2 frontend in Rust, is ten times as fast, but reads a whole message
    before it knows its size, which --max-memory bounds. `auto` uses it on loopback, on a Unix socket, and with
    --trusted-network."""

    trusted_network: bool = False
    """Says that everyone who can reach the address is trusted, as behind a proxy or inside a cluster."""

    runtime_dir: Path | None = None
    """Where the native transport creates its private socket, in a folder that no other user may enter.
    $XDG_RUNTIME_DIR, $TMPDIR, /tmp and /dev/shm are tried after it: the first writable one is used."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs. `auto` uses CUDA if possible and says why if not; `cuda` never falls back to the CPU."""

    precision: Precision = "auto"
    """Which variant. `auto` takes the fastest one that passes its self-test on this host: int8 on most CPUs, fp16 on
    CUDA. Any other value is served, or the start fails."""

    workers: Annotated[int | Literal["auto"], Parameter(validator=_require_count_or_auto)] = 1
    """Processes that share the port, each with a model and limits of its own; the kernel gives each of them its part of
    the connections. `auto` is one for each core that this process may use, by its affinity and its cgroup's
    CPU quota, rounded up."""

    instances: Count = 1
    """Threads of a worker that run batches concurrently. More than 1 pays if cores are idle and the model is slow."""

    threads: Count = 1
    """Threads of one run of the model on the CPU. Together the workers want workers x instances x threads cores."""

    max_batch_size: Count = 1024
    """Most images in one call, and in one batch."""

    max_queue_size: Count = 1024
    """Most calls that may wait, for each level of priority; more are refused at once. With grpcio each waiting call
    holds a thread; if a limit of processes or memory leaves fewer threads, fewer calls may wait."""

    max_queue_delay_microseconds: Microseconds = 0
    """How long a batch with room left may wait for more calls, counted from its oldest call. 0: it does not wait."""

    priority_levels: Annotated[int, Parameter(validator=Number(gte=1, lte=16))] = 2
    """Levels of priority: 1 goes before 2, and so on."""

    default_priority_level: Count | None = None
    """The level of a call that names no level, or one that does not exist. Default: the last level."""

    default_timeout_microseconds: Microseconds = 0
    """How long a call may wait for its batch; its own timeout and deadline can only shorten that. 0 is no limit."""

    max_message_bytes: Annotated[int, Parameter(validator=Number(gte=1024, lte=2**31 - 1))] = 16 * 1024 * 1024
    """Most bytes in one request message."""

    max_memory: Count = 512
    """Megabytes that callers may make a worker hold, on top of what it holds when it is ready. Above that, the
    connections that sent most without an answer are ended. At least 4 times --max-message-bytes."""

    warmup: Annotated[bool, Parameter(negative="--no-warmup")] = True
    """Makes calls of all sizes to the server before it is ready, so that the first call is as fast as later ones.
    Several workers over grpcio start without a warm-up."""

    spin_microseconds: Microseconds = 0
    """How long the native transport polls for the next call before it sleeps. 100 saves a single caller about 50
    microseconds a call, and costs up to 100 of a core after each batch; an idle server sleeps, a busy one never
    polls."""

    lame_duck: Seconds = 1.0
    """Seconds after the stop signal between health's NOT_SERVING and refusing calls: time for calls in flight to
    arrive, and for load balancers to stop sending."""

    drain_timeout: Seconds = 30.0
    """Seconds in which the accepted calls are then answered; what is left after that is ended."""

    slow_down_microseconds: Annotated[Microseconds, Parameter(show=False)] = 0
    """For tests of overload: adds this time to each run of the model."""

    @property
    def default_level(self) -> int:
        """`default_priority_level`, or the last level if it is not set."""
        return self.default_priority_level or self.priority_levels

    def require_consistent(self) -> None:
        """Raises StartError if settings contradict each other."""
        if self.max_memory * MB < 4 * self.max_message_bytes:
            raise StartError(
                f"--max-memory {self.max_memory}: expected at least 4 times the --max-message-bytes, "
                f"{4 * self.max_message_bytes / MB:.0f}"
            )
        if self.default_level > self.priority_levels:
            raise StartError(
                f"--default-priority-level {self.default_level}: expected 1 to {self.priority_levels}, the "
                "--priority-levels there are"
            )


@dataclass(frozen=True, slots=True)
class WorkerConfiguration:
    """Of one worker, or of a server that is alone."""

    settings: ServeSettings  # for several workers, with the real port
    statistics: int | None = None  # descriptor of the memory that all workers count in; None for a server alone
    number: int = 0  # its row there, and its name for people
    version: int | None = None  # which version to serve; None is the newest
    reason: str | None = None  # why the settings have that precision; None if it is the user's

    @property
    def shared(self) -> bool:
        """Whether other workers listen at the same port."""
        return self.statistics is not None
