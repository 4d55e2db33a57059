"""What a supervisor and its workers send each other over pipes: a configuration at the start, and one report."""

import pickle
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from digits.serve.settings import ServeSettings


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


@dataclass(frozen=True, slots=True)
class Report:
    """Of a worker that is ready.

    Attributes:
        line: The line that says what it serves, and where.
        configuration: Its own, with the version, the precision and the provider that it has chosen.
    """

    line: str
    configuration: WorkerConfiguration


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
