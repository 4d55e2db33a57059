"""What a supervisor and its workers send each other over pipes: a configuration at the start, and one report."""

import pickle
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from digits.serve.settings import ServeSettings


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


@dataclass(frozen=True, slots=True)
class Report:
    """Of a worker that is ready."""

    line: str  # the line that says what it serves, and where
    configuration: WorkerConfiguration  # its own, with the version, the precision and the provider that it has chosen


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
