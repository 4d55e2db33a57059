"""What a client makes of a server's limits: calls are split, overloads waited for, and lost servers replaced."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from digits.client import AsyncClient, Client, ClientError, OverloadedError, Predictions, RequestError
from digits.client.calls import Calls
from digits.protos.digits.v1 import digits_pb2

BATCH = 16  # images that the small server takes in a call
BURST = 24  # concurrent calls: more than may wait
Refusals = Callable[[str, NDArray[np.uint8]], list[grpc.RpcError]]
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def narrow(serving: Callable[..., Any], models: Path, transport: str) -> Iterator[Any]:
    """A server that takes messages of five images, and 20 ms for a batch."""
    limits = ("--max-message-bytes", 4096, "--slow-down-microseconds", 20_000)
    with serving("--models", models, "--precision", "int8", "--transport", transport, "--no-warmup", *limits) as server:
        yield server


def test_a_call_that_is_too_large_is_split_and_joined(
    small: Any, narrow: Any, client: Client, connect: Callable[..., Any], test_digits: Pixels
) -> None:
    """By the images in a batch, or by the bytes in a message; the answers are those of a single call.

    No more than two parts a channel run concurrently, or more than four would have met in a batch.
    """
    images = test_digits[:101]
    whole = client.classify(images, include_probabilities=True)
    assert whole.probabilities is not None
    for server, largest in ((small, BATCH), (narrow, 4 * 5)):
        with connect(server.address, timeout=60, channels=2) as other:
            other.classify(images[0])
            assert other._calls.limits is None  # asked for when they may matter
            parts = other.classify(images, include_probabilities=True)
        assert np.array_equal(parts.digits, whole.digits)
        assert np.array_equal(parts.confidences, parts.probabilities.max(axis=1))
        assert parts.probabilities.shape == whole.probabilities.shape
        assert parts.model_version == "1"
        assert parts.timing.batch_size <= largest


def test_a_refusal_carries_the_servers_words_and_the_limits_are_asked_for_again(
    small: Any, narrow: Any, connect: Callable[..., Any], test_digits: Pixels
) -> None:
    """As after a restart with smaller limits: the next call is split by the new ones."""
    too_many = "INVALID_ARGUMENT: pixels has 20 images; max_batch_size is 16: split the call"
    for server, words in ((small, too_many), (narrow, "RESOURCE_EXHAUSTED: ")):
        with connect(server.address, timeout=60) as client:
            client._calls.limits = digits_pb2.Limits(max_batch_size=1024, max_message_bytes=2**24)
            with pytest.raises(RequestError) as error:
                client.classify(test_digits[:20])
            assert error.value.code == words.partition(":")[0]
            assert str(error.value).startswith(f"{server.address}: {words}")
            assert "\n" not in str(error.value)
            assert client._calls.limits is None
            assert len(client.classify(test_digits[:20])) == 20


def test_an_overload_is_waited_for(small: Any, refusals: Refusals, test_digits: Pixels) -> None:
    """A burst of which some calls are refused, by either client: all of them are answered in the end."""
    refusal = refusals(small.address, test_digits[0])[0]
    (pause,) = Calls("host:1", 10).pauses(refusal, math.inf, 0)
    with pytest.raises(OverloadedError, match=r"^host:1: RESOURCE_EXHAUSTED: the queue is full") as error:
        next(Calls("host:1", 10).pauses(refusal, 0, 0))
    assert error.value.retry_after == pause > 0
    images = test_digits[:BURST]

    async def burst() -> list[Predictions]:
        async with AsyncClient(small.address, timeout=60) as client:
            return await asyncio.gather(*map(client.classify, images))

    answers = asyncio.run(burst())
    with Client(small.address, timeout=60, channels=4) as client:
        parts = client.classify(np.repeat(images, BATCH, axis=0))  # eight parts run concurrently
    found = np.concatenate([answer.digits for answer in answers])
    assert np.array_equal(np.repeat(found, BATCH), parts.digits)


@given(st.floats(1, 1000), st.integers(1, 10**6))
def test_an_overload_is_waited_for_as_long_as_the_server_says_and_an_outage_within_a_second(
    left: float, milliseconds: int
) -> None:
    """If so much time is left. Other errors are not retried."""
    calls = Calls("host:1", 10)

    def pause(code: str, after: object, left: float, calls: Calls = calls) -> float | None:
        metadata = grpc.aio.Metadata(("retry-after-ms", str(after)))
        error = grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), metadata)
        try:
            return next(calls.pauses(error, time.monotonic() + left, tries=9))
        except ClientError:
            return None

    assert pause("RESOURCE_EXHAUSTED", milliseconds, milliseconds / 1e3 + left) == milliseconds / 1e3
    assert pause("RESOURCE_EXHAUSTED", milliseconds, milliseconds / 1e3) is None
    for nonsense in ("soon", "-1", "0", ""):
        assert pause("RESOURCE_EXHAUSTED", nonsense, left) is None
    assert 0.5 <= (pause("UNAVAILABLE", milliseconds, 1 + left) or 0) <= 1
    assert pause("UNAVAILABLE", milliseconds, 0.4) is None
    assert pause("UNAVAILABLE", milliseconds, left, Calls("host:1", 10, wait_for_ready=False)) is None
    assert pause("INTERNAL", milliseconds, left) is None


@given(st.integers(1, 300), st.integers(1, 100), st.integers(1024, 100_000))
def test_parts_are_the_images_in_order_and_within_the_limits(count: int, images: int, size: int) -> None:
    calls = Calls("host:1", 10)
    pixels = np.resize(np.arange(256, dtype=np.uint8), (count, 28, 28))
    assert [part.shape for part in calls.parts(pixels)] == [pixels.shape]
    calls.limits = digits_pb2.Limits(max_batch_size=images, max_message_bytes=size)
    parts = calls.parts(pixels)
    assert np.array_equal(np.concatenate(parts), pixels)
    for part in parts:
        request = digits_pb2.ClassifyRequest(pixels=part.tobytes(), include_probabilities=True, priority=2**32 - 1)
        assert len(part) <= images
        assert request.ByteSize() <= size


def test_all_servers_of_a_name_are_used_and_one_may_go(
    server: Any, serving: Callable[..., Any], models: Path, transport: str, test_digits: Pixels
) -> None:
    """Drained or killed between calls: no caller notices, and the other one answers."""
    other, ends = ("grpcio", "kill") if transport == "native" else ("native", "terminate")
    options = ("--models", models, "--transport", other, "--no-warmup", "--lame-duck", 0.2)
    with serving(*options) as leaving, Client(f"ipv4:{server.address},{leaving.address}") as client:
        assert client.ready()
        seen = set[str]()
        while seen != {"native", "grpcio"}:
            seen.add(client.model().transport)
        getattr(leaving.process, ends)()
        while leaving.process.poll() is None:
            client.classify(test_digits[:2])
        for _ in range(20):
            assert client.model().transport == transport
            client.classify(test_digits[0])
