"""A server that takes calls and never answers: each of them costs its time, and no more."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.client import AsyncClient, ClosedError, DeadlineError

SOON = 0.2  # seconds


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections, and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_the_timeout_is_that_of_the_client_or_of_the_call(
    silent: str, connect: Callable[..., Any], test_digits: NDArray[np.uint8]
) -> None:
    """Each item of a stream has its own."""
    with connect(silent, timeout=SOON) as client, pytest.raises(DeadlineError, match=f"{silent}: DEADLINE_EXCEEDED: "):
        client.classify(test_digits[0])
    with connect(silent, timeout=60) as client:
        assert not client.ready(timeout=SOON)
        for call in (client.model, lambda **options: client.classify(test_digits[:2], **options)):
            with pytest.raises(DeadlineError):
                call(timeout=SOON)
        answers = list(client.stream(test_digits[:3], timeout=SOON, return_exceptions=True))
        assert list(map(type, answers)) == [DeadlineError] * 3
        assert str(answers[2]).startswith(f"{silent}: DEADLINE_EXCEEDED: ")


def test_a_closed_client_ends_its_calls_and_cancels_no_task(silent: str, test_digits: NDArray[np.uint8]) -> None:
    """A task that is cancelled ends as such."""

    async def run() -> None:
        client = AsyncClient(silent, timeout=60)
        stream = client.stream(test_digits[:2])
        tasks = [asyncio.create_task(client.classify(test_digits[0])), asyncio.create_task(anext(stream))]
        with pytest.raises(TimeoutError):  # the calls of the others are running when this one ends
            async with asyncio.timeout(SOON):
                await client.classify(test_digits[0])
        await client.close()
        for task in tasks:
            with pytest.raises(ClosedError):
                await task

    asyncio.run(run())
