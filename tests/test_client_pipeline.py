"""What a stream does when it breaks or is turned away, without a server."""

from __future__ import annotations

import math

import grpc
import numpy as np
import pytest

from digits.client import UnavailableError
from digits.client.calls import Asked, Calls
from digits.client.pipeline import REOPENINGS, Clock, Pipeline
from digits.protos.digits.v1 import digits_pb2


def test_a_stream_that_breaks_over_and_over_is_given_up() -> None:
    """After some breaks in a row; an answer between them starts the count anew."""
    pipeline = Pipeline(Calls("host:1", 10), Asked(), None, window=2, return_exceptions=False)
    for _ in range(2):
        pipeline.add(0.0, [np.zeros((1, 28, 28), np.uint8)])
    assert [request.request_id for request in pipeline.due()] == ["0", "1"]
    pipeline.broke(None)
    assert [request.request_id for request in pipeline.due()] == ["0", "1"]
    for _ in REOPENINGS[1:]:
        pipeline.broke(None)
        assert list(pipeline.due()) == []  # not at once
        assert 0 < pipeline.wait() <= max(REOPENINGS)
    pipeline.take(digits_pb2.ClassifyStreamResponse(request_id="1", response=digits_pb2.ClassifyResponse()))
    for _ in REOPENINGS:
        pipeline.broke(None)
    with pytest.raises(UnavailableError, match="host:1: UNAVAILABLE: the stream was ended too early"):
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
