"""Calls while no server takes them: one loop waits, as long as there is time, and many callers make no storm."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.client import AsyncClient, Client, UnavailableError
from digits.client.channel import SERVICE
from digits.client.retry import FIRST, LONGEST, TOKENS, TOKENS_PER_SECOND, RetryBudget, backoff
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from digits.client import Predictions

CLIENTS = Path(__file__).parents[2] / "docs/how-to/clients.md"
REFUSALS = 6  # more than the 5 attempts that gRPC would make
BURST = 24  # calls at a time: more than may wait


class Refusing:
    """A server that takes calls in the end, as what stands before a server that restarts."""

    def __init__(self) -> None:
        self.calls = 0
        self.metadata = set[str]()

    def model(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        self.metadata |= {key for key, _ in context.invocation_metadata()}
        if self.calls <= REFUSALS:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        return digits_pb2.GetModelResponse(version="7").SerializeToString()


@pytest.fixture
def refusing() -> Iterator[tuple[str, Refusing]]:
    """Its address, and what it has seen."""
    server, seen = grpc.server(ThreadPoolExecutor(4)), Refusing()
    server.add_registered_method_handlers(SERVICE, {"GetModel": grpc.unary_unary_rpc_method_handler(seen.model)})
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", seen
    server.stop(None).wait()


def test_a_call_is_made_again_until_it_is_taken_and_by_one_loop(refusing: tuple[str, Refusing]) -> None:
    """More often than gRPC would, and none of the tries is gRPC's."""
    address, seen = refusing
    with Client(address, timeout=60) as client:
        assert client.model().version == "7"
    assert seen.calls == REFUSALS + 1
    assert "grpc-previous-rpc-attempts" not in seen.metadata


def test_asyncio_makes_it_again_too(refusing: tuple[str, Refusing]) -> None:
    address, seen = refusing

    async def run() -> None:
        async with AsyncClient(address, timeout=60) as client:
            assert (await client.model()).version == "7"

    asyncio.run(run())
    assert seen.calls == REFUSALS + 1


def test_a_client_may_fail_at_once_instead(refusing: tuple[str, Refusing]) -> None:
    address, seen = refusing
    with Client(address, wait_for_ready=False) as client, pytest.raises(UnavailableError, match="draining"):
        client.model()
    assert seen.calls == 1


@pytest.mark.parametrize(("transport", "ends"), [("native", "terminate"), ("grpcio", "kill")])
def test_an_outage_that_is_shorter_than_the_time_left_is_no_error(
    serving: Callable[..., Any],
    models: Path,
    test_digits: NDArray[np.uint8],
    tmp_path: Path,
    transport: str,
    ends: str,
) -> None:
    """Of single calls, cut calls and streams of both clients, which all wait for the server that comes back."""
    options = ("--models", models, "--transport", transport, "--precision", "fp32", "--no-warmup", "--lame-duck", 0)
    address = f"unix:{tmp_path}/socket"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(*options, address=address))
        client = stack.enter_context(Client(address, timeout=60))
        expected = client.classify(test_digits[:3]).digits
        getattr(server.process, ends)()
        server.process.wait(timeout=60)

        async def asynchronous() -> list[Predictions]:
            async with AsyncClient(address, timeout=60) as other:
                streamed = [answer async for answer in other.stream(test_digits[:1])]
                return [await other.classify(test_digits[:3]), *streamed]

        pool = stack.enter_context(ThreadPoolExecutor(4))
        waiting = [
            pool.submit(lambda: [client.classify(test_digits[:3])]),
            pool.submit(lambda: list(client.stream(test_digits[:3]))),
            pool.submit(lambda: asyncio.run(asynchronous())),
        ]
        with Client(address, timeout=3) as other, pytest.raises(UnavailableError):
            other.classify(test_digits[0])  # takes longer than all of gRPC's own tries
        assert not any(each.done() for each in waiting)
        stack.enter_context(serving(*options, address=address))
        for each in waiting:
            assert [int(digit) for answer in each.result() for digit in answer.digits][:3] in (
                expected.tolist(),
                [*expected.tolist(), expected[0]],
            )


@given(st.integers(0, 10_000))
def test_waits_grow_to_a_second_and_are_spread(tries: int) -> None:
    longest = min(LONGEST, FIRST * 2 ** min(tries, 100))
    waits = {backoff(tries) for _ in range(20)}
    assert len(waits) > 1
    assert all(longest / 2 <= wait <= longest for wait in waits)


def test_many_callers_share_a_budget_and_one_alone_never_finds_it_empty() -> None:
    """By simulated time: a thousand callers who come each second, for a minute; then one alone; then the server."""
    budget = RetryBudget()
    start = budget._filled
    taken = sum(budget.take(start + second) for second in range(61) for _ in range(1000))
    assert taken <= TOKENS + 60 * TOKENS_PER_SECOND
    assert all(budget.take(start + 61 + LONGEST / 2 * i) for i in range(100))
    while budget.take(start + 200):
        pass
    budget.give()
    assert budget.take(start + 200)
    assert not budget.take(start + 200)


def test_a_plain_grpc_client_with_the_documented_config_survives_an_overload(
    serving: Callable[..., Any], models: Path, test_digits: NDArray[np.uint8]
) -> None:
    """It waits for as long as the server says: its own backoff is made longer here than its calls may take."""
    (text,) = re.findall(r"```json\n(.*?)```", CLIENTS.read_text(encoding="utf-8"), re.DOTALL)
    config = json.loads(text)
    config["methodConfig"][0]["retryPolicy"] |= {"initialBackoff": "600s", "maxBackoff": "600s"}
    limits = ("--max-batch-size", 1, "--max-queue-size", 1, "--slow-down-microseconds", 20_000)
    request = digits_pb2.ClassifyRequest(pixels=test_digits[0].tobytes())
    with (
        serving("--models", models, "--transport", "grpcio", "--no-warmup", *limits) as server,
        grpc.insecure_channel(server.address) as plain,
        grpc.insecure_channel(server.address, [("grpc.service_config", json.dumps(config))]) as retrying,
    ):
        stub = digits_pb2_grpc.DigitClassifierStub(plain)
        refusal: Any = None
        while not refusal:
            calls = [stub.Classify.future(request, timeout=60) for _ in range(BURST)]
            refusal = next(filter(None, [call.exception() for call in calls]), None)
        told = dict(refusal.trailing_metadata())
        assert told["grpc-retry-pushback-ms"] == told["retry-after-ms"]
        stub = digits_pb2_grpc.DigitClassifierStub(retrying)
        for _ in range(20):
            trio = [stub.Classify.future(request, timeout=60) for _ in range(3)]  # one runs, one waits, one is refused
            assert all(len(call.result().digits) == 1 for call in trio)
