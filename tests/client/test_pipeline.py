"""What a stream does when it breaks or is turned away, without a server."""

from __future__ import annotations

import math

import grpc
import numpy as np
import pytest

from digits.client import UnavailableError
from digits.client.calls import Asked, Calls
from digits.client.pipeline import Clock, Pipeline
from digits.client.retry import LONGEST
from digits.protos.digits.v1 import digits_pb2


def broken(timeout: float) -> Pipeline:
    """A pipeline whose two items were sent, and whose stream broke then."""
    pipeline = Pipeline(Calls("host:1", timeout), Asked(), None, window=2, return_exceptions=True)
    for _ in range(2):
        pipeline.add(0.0, [np.zeros((1, 28, 28), np.uint8)])
    assert [request.request_id for request in pipeline.due()] == ["0", "1"]
    pipeline.broke(None)
    return pipeline


def test_a_stream_that_breaks_over_and_over_is_opened_again_while_its_items_have_time() -> None:
    """Never at once, after a second at most, and within the budget of all retries of the client."""
    pipeline = broken(math.inf)
    for _ in range(50):
        assert list(pipeline.due()) == []
        assert 0 < pipeline.wait() <= LONGEST
        pipeline.broke(None)


def test_the_items_of_a_broken_stream_fail_when_their_time_is_over_and_say_why() -> None:
    pipeline = broken(1e-9)
    pipeline.expire()
    outcomes = list(pipeline.finished())
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2
    assert str(outcomes[0]) == "host:1: UNAVAILABLE: the stream was ended too early"


def test_a_client_that_does_not_wait_gives_up_a_stream_that_breaks() -> None:
    pipeline = Pipeline(Calls("host:1", 10, wait_for_ready=False), Asked(), None, window=2, return_exceptions=True)
    with pytest.raises(UnavailableError):
        pipeline.broke(None)


def test_requests_that_a_draining_server_turns_away_are_sent_again_later() -> None:
    pipeline = Pipeline(Calls("host:1", math.inf), Asked(), None, window=1, return_exceptions=False)
    pipeline.add(0.0, [np.zeros((1, 28, 28), np.uint8)])
    assert pipeline.wait() == 0
    (request,) = pipeline.due()
    assert request.request.timeout_microseconds == 0
    assert pipeline.wait() == math.inf
    draining = digits_pb2.Error(code=grpc.StatusCode.UNAVAILABLE.value[0], message="draining")
    pipeline.take(digits_pb2.ClassifyStreamResponse(request_id="0", error=draining))
    assert list(pipeline.due()) == []
    assert 0 < pipeline.wait() < 1
    assert list(pipeline.finished()) == []


def test_a_clock_stands_while_the_caller_is_busy() -> None:
    clock = Clock()
    with clock.stopped():
        before = clock.now()
        assert clock.now() == before
    assert clock.now() >= before
