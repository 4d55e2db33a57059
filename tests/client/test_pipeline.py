"""Which items of a stream share a call, and what becomes of them when it fails, without a server."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.client import DeadlineError, Predictions, RequestError, Timing, UnavailableError
from digits.client.calls import Calls
from digits.client.errors import ClientError, client_error
from digits.client.pipeline import Item, Pipeline, images
from digits.protos.digits.v1 import digits_pb2


def holding(sizes: list[int], *, most: int = 0) -> Pipeline:
    """A pipeline with items of so many images, for a server that takes at most so many in a call."""
    calls = Calls("host:1", math.inf)
    calls.limits = digits_pb2.Limits(max_batch_size=most)
    pipeline = Pipeline(calls, partial(calls.deadline, None), window=len(sizes), return_exceptions=True)
    for number, size in enumerate(sizes):
        pipeline.add(np.full((size, 28, 28), number, np.uint8), 0.0)
    return pipeline


def answer(items: list[Item]) -> Predictions:
    """The digit of each image is its item's number."""
    digits = images(items)[:, 0, 0]
    return Predictions(digits, digits.astype(np.float32), None, "1", Timing(0, 0, 0, len(digits)))


def numbers(items: list[Item]) -> set[int]:
    return set(images(items)[:, 0, 0].tolist())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 20), st.data())
def test_each_item_gets_its_own_answer_in_order_whatever_calls_fail(
    sizes: list[int], most: int, data: st.DataObject
) -> None:
    """Calls stay within the limits and half a window. Items of a shared one that fails are asked for alone."""
    pipeline = holding(sizes, most=most)
    running: list[list[Item]] = []
    outcomes: list[Any] = []
    alone, failed = set[int](), set[int]()
    while not pipeline.is_empty:
        if len(running) < 2 and (taken := pipeline.take()):
            assert len(taken) <= math.ceil(len(sizes) / 2)
            assert len(taken) == 1 or (len(images(taken)) <= most and not alone & numbers(taken))
            running.append(taken)
            continue
        taken = running.pop(data.draw(st.integers(0, len(running) - 1)))
        refused = data.draw(st.booleans())
        if refused:
            (failed if len(taken) == 1 else alone).update(numbers(taken))
        pipeline.settle(taken, client_error("host:1", "INVALID_ARGUMENT", "") if refused else answer(taken))
        outcomes += list(pipeline.finished())
    assert {i for i, outcome in enumerate(outcomes) if isinstance(outcome, RequestError)} == failed
    for i, size in enumerate(sizes):
        assert i in failed or outcomes[i].digits.tolist() == [i] * size


@pytest.mark.parametrize(("code", "kind"), [("UNAVAILABLE", UnavailableError), ("INTERNAL", DeadlineError)])
def test_items_fail_when_their_time_is_over_and_say_what_kept_them_from_the_server(
    code: str, kind: type[ClientError]
) -> None:
    pipeline = holding([2, 1, 1], most=2)
    pipeline.settle(pipeline.take(), client_error("host:1", code, "draining"))
    for item in pipeline._waiting:
        item.deadline = 0
    assert pipeline.take() == []
    assert list(map(type, pipeline.finished()))[1:] == [kind, kind]
