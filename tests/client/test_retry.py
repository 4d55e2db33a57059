"""Calls while no server takes them: one loop waits as long as there is time, and many callers share a retry budget."""

import contextlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from digits.client import Client, UnavailableError
from digits.client.retry import FIRST, LONGEST, TOKENS, TOKENS_PER_SECOND, RetryBudget, backoff
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

CLIENTS = Path(__file__).parents[2] / "docs" / "how-to" / "clients.md"
REFUSALS = 7  # more than the 5 attempts that gRPC would make


def test_one_loop_retries_a_call_until_it_is_taken_or_not_at_all(scripted: Any, connect: Callable[..., Any]) -> None:
    """More often than gRPC would, and no try is made by gRPC. The server is like a proxy of one that restarts."""

    def refuse(_images: list[int], context: grpc.ServicerContext) -> None:
        assert "grpc-previous-rpc-attempts" not in dict(context.invocation_metadata())  # a retry by gRPC itself
        if scripted.asked <= REFUSALS:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")

    scripted.before = refuse
    with connect(scripted.address, wait_for_ready=False) as client, pytest.raises(UnavailableError, match="draining"):
        client.model()
    assert scripted.asked == 1
    with connect(scripted.address, timeout=60) as client:
        assert client.model().version == "7"
    assert scripted.asked == REFUSALS + 1


@pytest.mark.parametrize(("transport", "ends"), [("native", "terminate"), ("grpcio", "kill")])
def test_an_outage_that_is_shorter_than_the_time_left_is_not_an_error(
    serving: Callable[..., Any],
    models: Path,
    test_digits: NDArray[np.uint8],
    tmp_path: Path,
    kinds: tuple[Any, Any],
    transport: str,
    ends: str,
) -> None:
    """Of calls and streams of both clients: also of streams that had begun, each item of which gets its one answer."""
    options = ("--models", models, "--transport", transport, "--precision", "fp32", "--no-warmup", "--lame-duck", 0)
    start = partial(serving, *options, address=f"unix:{tmp_path}/socket")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(start())
        clients = [stack.enter_context(kind(server.address, timeout=60)) for kind in kinds]
        begun = [client.stream(test_digits[:60], window=5) for client in clients]
        first = [next(stream).digits[0] for stream in begun]
        getattr(server.process, ends)()
        server.process.wait(timeout=60)
        pool = stack.enter_context(ThreadPoolExecutor(4))
        others = [stack.enter_context(kind(server.address, timeout=60)) for kind in kinds]
        streams = [client.stream([test_digits[:60]]) for client in others]
        waiting = [pool.submit(list[Any], stream) for stream in (*streams, *begun)]
        with Client(server.address, timeout=3) as other, pytest.raises(UnavailableError):
            other.classify(test_digits[0])  # takes longer than all of gRPC's own tries
        assert not any(each.done() for each in waiting)
        stack.enter_context(start())
        *called, sync, asynchronous = [np.concatenate([part.digits for part in each.result()]) for each in waiting]
        for digits in (called[1], [first[0], *sync], [first[1], *asynchronous]):
            assert list(digits) == list(called[0])


@given(st.integers(0, 10_000))
def test_waits_grow_to_a_second_and_are_spread(tries: int) -> None:
    longest = min(LONGEST, FIRST * 2 ** min(tries, 100))
    waits = {backoff(tries) for _ in range(20)}
    assert len(waits) > 1
    assert longest / 2 <= min(waits) <= max(waits) <= longest


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
    assert [budget.take(start + 200), budget.take(start + 200)] == [True, False]


def test_a_plain_grpc_client_with_the_documented_config_survives_an_overload(
    serving: Callable[..., Any], refusals: Callable[..., Any], models: Path, test_digits: NDArray[np.uint8]
) -> None:
    """It waits for as long as the server says: its own backoff is made longer here than its calls may take."""
    (text,) = re.findall(r"```json\n(.*?)```", CLIENTS.read_text(encoding="utf-8"), re.DOTALL)
    config = json.loads(text)
    config["methodConfig"][0]["retryPolicy"] |= {"initialBackoff": "600s", "maxBackoff": "600s"}
    limits = ("--max-batch-size", 1, "--max-queue-size", 1, "--slow-down-microseconds", 20_000)
    request = digits_pb2.ClassifyRequest(pixels=test_digits[0].tobytes())
    with (
        serving("--models", models, "--transport", "grpcio", "--no-warmup", *limits) as server,
        grpc.insecure_channel(server.address, [("grpc.service_config", json.dumps(config))]) as retrying,
    ):
        told = dict(refusals(server.address, test_digits[0])[0].trailing_metadata())
        assert told["grpc-retry-pushback-ms"] == told["retry-after-ms"]
        stub = digits_pb2_grpc.DigitClassifierStub(retrying)
        for _ in range(20):
            trio = [stub.Classify.future(request, timeout=60) for _ in range(3)]  # one runs, one waits, one is refused
            assert all(len(call.result().digits) == 1 for call in trio)
