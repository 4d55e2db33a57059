"""The servers that `digits bench server` loads: one that runs, or one for each transport; and an echo beside them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.server.meter import Subject
from digits.benchmarks.servers import TRANSPORTS, serving
from digits.benchmarks.settings import ECHO
from digits.client import Client
from digits.client.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from digits.benchmarks.settings import ServerBenchmarkSettings

PATIENCE = 5.0  # seconds until a server that runs has answered


@contextmanager
def subjects(
    settings: ServerBenchmarkSettings, pixels: NDArray[np.uint8], digits: NDArray[np.int64]
) -> Iterator[list[Subject]]:
    """Those to measure; the echo, which bounds what a server and a generator can reach, is the last.

    Raises:
        BenchmarkError: one does not start or answer, or takes clear digits for others.
    """
    with ExitStack() as stack:
        if settings.server is not None:
            found = [Subject(settings.server, settings.server)]
        else:
            names = list(TRANSPORTS)[: 1 if settings.quick else None]
            processes = {name: stack.enter_context(serving(TRANSPORTS[name], models=settings.models)) for name in names}
            found = [Subject(f"digits, {name}", one.address, one) for name, one in processes.items()]
        for subject in found:
            require_right(subject, pixels, digits)
        echo = stack.enter_context(serving(ECHO))
        yield [*found, Subject(ECHO, echo.address, echo, counts=False)]


def require_right(subject: Subject, pixels: NDArray[np.uint8], digits: NDArray[np.int64]) -> None:
    """Raises BenchmarkError unless the server takes images uint8 [n, 28, 28] for the digits that they show."""
    try:
        with Client(subject.address, timeout=PATIENCE) as client:
            answers = client.classify(pixels).digits
    except ClientError as error:
        raise BenchmarkError(f"no server of digits answers: {error}") from error
    wrong = np.flatnonzero(answers != digits)
    if wrong.size:
        first = f"the first a {digits[wrong[0]]} for a {answers[wrong[0]]}"
        found = f"{subject.name} takes {wrong.size} of {len(digits)} clear digits for others, {first}"
        raise BenchmarkError(f"{found}; is that the right model?")
