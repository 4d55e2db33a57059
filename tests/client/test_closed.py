"""A client that is closed says so, whatever is asked and whoever asks; a copy of it is open."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from digits.client import AsyncClient, Client, ClientError, ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from digits.client import Predictions


def test_every_method_of_a_closed_client_raises_the_same_error(server: Any, test_digits: NDArray[np.uint8]) -> None:
    """A stream that was begun before, too; only to close it again is no error."""
    client = Client(server.address)
    begun = client.stream(test_digits[:2], window=1)
    assert len(next(begun)) == 1
    client.close()
    client.close()
    calls: list[Callable[[], object]] = [
        lambda: client.classify(test_digits[0]),
        lambda: client.classify("no picture"),
        lambda: client.classify(test_digits[:100]),
        lambda: list(client.stream(test_digits[:2], return_exceptions=True)),
        lambda: next(begun),
        client.model,
        client.ready,
    ]
    for call in calls:
        with pytest.raises(ClosedError) as error:
            call()
        assert str(error.value) == f"{server.address}: CANCELLED: the client is closed"
    assert issubclass(ClosedError, ClientError)
    assert issubclass(ClosedError, ValueError)


def test_every_method_of_a_closed_asyncio_client_raises_it_too(server: Any, test_digits: NDArray[np.uint8]) -> None:
    async def run() -> None:
        client = AsyncClient(server.address)
        begun = client.stream(test_digits[:2], window=1)
        assert len(await anext(begun)) == 1
        assert await client.ready()
        await client.close()
        await client.close()

        async def streamed() -> list[Predictions | Exception]:
            return [answer async for answer in client.stream(test_digits[:2], return_exceptions=True)]

        calls: list[Any] = [
            client.classify(test_digits[0]),
            client.classify("no picture"),
            client.classify(test_digits[:100]),
            streamed(),
            anext(begun),
            client.model(),
            client.ready(),
        ]
        for call in calls:
            with pytest.raises(ClosedError, match=f"^{server.address}: CANCELLED: the client is closed$"):
                await call

    asyncio.run(run())


def test_a_client_may_be_closed_while_others_call_it(server: Any, test_digits: NDArray[np.uint8]) -> None:
    """In the middle of any call; the interpreter survives it, and each caller gets the error in the end."""
    for _ in range(10):
        client = Client(server.address, timeout=60)
        calls: list[Callable[[], object]] = [
            partial(client.classify, test_digits[0]),
            partial(client.classify, test_digits[:3]),
            partial(streamed, client, test_digits[:4]),
            client.model,
            client.ready,
        ]
        begun = threading.Barrier(len(calls) + 1)
        with ThreadPoolExecutor(len(calls)) as pool:
            callers = [pool.submit(until_it_fails, call, begun) for call in calls]
            begun.wait()
            client.close()
            assert [type(caller.exception()) for caller in callers] == [ClosedError] * len(calls)


def streamed(client: Client, items: NDArray[np.uint8]) -> list[Predictions]:
    return list(client.stream(items))


def until_it_fails(call: Callable[[], object], begun: threading.Barrier) -> None:
    call()
    begun.wait()
    while True:
        call()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))])  # noqa: S301 our own
def test_a_copy_has_the_address_and_the_options_and_connects_itself(
    server: Any, test_digits: NDArray[np.uint8], copied: Callable[[Any], Any]
) -> None:
    """Even one of a client that is closed."""
    with Client(server.address, timeout=7, channels=2, wait_for_ready=False) as client:
        expected = client.classify(test_digits[0]).digits
    with copied(client) as other:
        assert other.classify(test_digits[0]).digits == expected
        assert (other._calls._timeout, other._calls.channels, other._calls.wait_for_ready) == (7, 2, False)

    async def run() -> None:
        async with AsyncClient(server.address, timeout=7, channels=2) as one, copied(one) as other:
            assert (await other.classify(test_digits[0])).digits == expected
            assert (other._calls._timeout, other._calls.channels, other._calls.wait_for_ready) == (7, 2, True)

    asyncio.run(run())
