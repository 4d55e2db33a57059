"""A client that is closed says so in every method and thread; a copy of it is open."""

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.client import AsyncClient, Client, ClientError, ClosedError

COPIES = [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))]  # noqa: S301 our own


def test_every_method_of_a_closed_client_raises_the_same_error(
    server: Any, connect: Callable[..., Any], test_digits: NDArray[np.uint8]
) -> None:
    """A stream that was begun before, too. Closing it again is not an error."""
    with connect(server.address) as client:
        begun = client.stream(test_digits[:2], window=1)
        assert len(next(begun)) == 1
        assert client.ready()
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


def test_a_client_may_be_closed_while_other_threads_call_it(server: Any, test_digits: NDArray[np.uint8]) -> None:
    """In the middle of any call; the interpreter survives it, and each caller gets the error in the end."""
    for _ in range(10):
        client = Client(server.address, timeout=60)
        calls: list[Callable[[], object]] = [
            partial(client.classify, test_digits[0]),
            partial(client.classify, test_digits[:3]),
            lambda client=client: list(client.stream(test_digits[:4])),  # type: ignore[misc] # a default binds it
            client.model,
            client.ready,
        ]
        begun = threading.Barrier(len(calls) + 1)
        with ThreadPoolExecutor(len(calls)) as pool:
            callers = [pool.submit(until_it_fails, call, begun) for call in calls]
            begun.wait()
            client.close()
            assert [type(caller.exception()) for caller in callers] == [ClosedError] * len(calls)


def until_it_fails(call: Callable[[], object], begun: threading.Barrier) -> None:
    call()
    begun.wait()
    while True:
        call()


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_has_the_address_and_the_options_and_connects_itself(
    server: Any, test_digits: NDArray[np.uint8], copied: Callable[[Any], Any]
) -> None:
    """Also one of a client that is closed."""
    options: dict[str, Any] = {"timeout": 7, "channels": 2, "wait_for_ready": False}
    with Client(server.address, **options) as client:
        expected = client.classify(test_digits[0]).digits
    with copied(client) as other:
        assert other.classify(test_digits[0]).digits == expected

    async def run(client: AsyncClient) -> None:
        async with client:
            assert (await client.classify(test_digits[0])).digits == expected

    again = copied(AsyncClient(server.address, **options))
    asyncio.run(run(again))
    assert other.__reduce__()[0].keywords == again.__reduce__()[0].keywords == options
