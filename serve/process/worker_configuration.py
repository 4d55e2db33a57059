"""What a supervisor and its workers send each other over pipes: a configuration at the start, and one report."""

import pickle
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any, Literal, Self

from digits.model.manifest import Precision
from digits.serve.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Report:
    """Of a worker that is ready.

    Attributes:
        line: The line that says what it serves, and where.
        version: The version that it serves.
        precision: The variant that it has chosen.
        provider: Where that runs.
        reason: Why that one.
    """

    line: str
    version: int
    precision: Precision
    provider: Literal["cpu", "cuda"]
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerConfiguration:
    """Of one worker, or of a server that is alone.

    Attributes:
        settings: For several workers, with the real port.
        statistics: A descriptor of memory from `statistics.create`, which all workers inherit; None for a server alone.
        number: Its row there, and its name for people.
        version: Which version to serve; None is the newest.
        reason: Why the settings have that precision; None if it is the user's.
    """

    settings: ServeSettings
    statistics: int | None = None
    number: int = 0
    version: int | None = None
    reason: str | None = None

    @property
    def shared(self) -> bool:
        """Whether other workers listen at the same port."""
        return self.statistics is not None

    def settled(self, report: Report) -> Self:
        """The same with the first worker's choices: all workers answer as it does, also if a version is published."""
        settings = replace(self.settings, precision=report.precision, provider=report.provider)
        return replace(self, settings=settings, version=report.version, reason=report.reason)


def send(pipe: IO[bytes], message: WorkerConfiguration | Report | Exception) -> None:
    """Sends it whole; to a reader that has ended, nothing."""
    with suppress(BrokenPipeError):
        pipe.write(pickle.dumps(message))
        pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """What the other side has sent; None if it ended before that."""
    try:
        return pickle.load(pipe)  # noqa: S301 it comes from our own process
    except (EOFError, pickle.UnpicklingError):
        return None
