"""A server that takes calls and never answers: each of them costs its time, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from digits.client import AsyncClient, Client, ClosedError, DeadlineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

SOON = 0.2  # seconds


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections, and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_the_timeout_is_the_clients_or_the_calls(silent: str, test_digits: NDArray[np.uint8]) -> None:
    with Client(silent, timeout=SOON) as client, pytest.raises(DeadlineError, match=f"{silent}: DEADLINE_EXCEEDED: "):
        client.classify(test_digits[0])
    with Client(silent, timeout=60) as client:
        assert not client.ready(timeout=SOON)
        with pytest.raises(DeadlineError):
            client.model(timeout=SOON)
        with pytest.raises(DeadlineError):
            client.classify(test_digits[:2], timeout=SOON)


def test_asyncio_has_the_same_timeouts(silent: str, test_digits: NDArray[np.uint8]) -> None:
    """And those of its own: a call that is cancelled ends as such."""

    async def run() -> None:
        async with AsyncClient(silent, timeout=60) as client:
            assert not await client.ready(timeout=SOON)
            with pytest.raises(DeadlineError, match=f"{silent}: DEADLINE_EXCEEDED: "):
                await client.classify(test_digits[0], timeout=SOON)
            with pytest.raises(DeadlineError):
                await client.classify(test_digits[:2], timeout=SOON)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SOON):
                    await client.classify(test_digits[0])

    asyncio.run(run())


def test_each_item_of_a_stream_has_its_time(silent: str, test_digits: NDArray[np.uint8]) -> None:
    async def streamed() -> list[Any]:
        async with AsyncClient(silent) as client:
            return [answer async for answer in client.stream(test_digits[:3], timeout=SOON, return_exceptions=True)]

    with Client(silent) as client:
        answers = list(client.stream(test_digits[:3], timeout=SOON, return_exceptions=True))
    for answer in (*answers, *asyncio.run(streamed())):
        assert isinstance(answer, DeadlineError)
        assert str(answer).startswith(f"{silent}: DEADLINE_EXCEEDED: ")


def test_a_closed_client_ends_its_calls_and_cancels_no_task(silent: str, test_digits: NDArray[np.uint8]) -> None:
    """What was asked fails with an error of the client's."""

    async def run() -> None:
        client = AsyncClient(silent, timeout=60)
        stream = client.stream(test_digits[:2])
        tasks = [asyncio.create_task(client.classify(test_digits[0])), asyncio.create_task(anext(stream))]
        with contextlib.suppress(DeadlineError):  # the calls of the others are under way when this one ends
            await client.classify(test_digits[0], timeout=SOON)
        await client.close()
        for task in tasks:
            with pytest.raises(ClosedError):
                await task

    asyncio.run(run())
