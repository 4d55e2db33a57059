"""The loads that a server is put under, each as the numbers of one repeat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.benchmarks.calls import call_of
from digits.benchmarks.cells import CLASSIFY, Cell
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.generator import Request, closed_loop, open_loop, poisson
from digits.benchmarks.h2load import drive
from digits.benchmarks.server.meter import Meter, Subject
from digits.benchmarks.settings import ECHO, OURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.benchmarks.calls import Call
    from digits.benchmarks.generator import Traffic

WARM_UP = 0.1  # seconds of the same load before each that is measured, or half as many as of that
CONNECTIONS = 4  # of the open loop
MIXED = (1, 8, 64)  # images in a call, each as often as the others

Images = tuple["NDArray[np.uint8]", "NDArray[np.int64]"]  # uint8 [n, 28, 28] and the digits that they show, int64 [n]


def call(subject: Subject, images: Images, count: int, method: str = CLASSIFY) -> Call:
    """A call with the first so many images."""
    server = ECHO if subject.name == ECHO else OURS
    return call_of(Cell(method, count, 0, ()), server, *images)


def request(made: Call) -> Request:
    return Request(made.method, made.message, made.is_right, made.cell.images)


def mixed(subject: Subject, images: Images, seed: int) -> list[Request]:
    """A thousand calls of mixed sizes, in an order of chance."""
    sizes = np.random.default_rng(seed).choice(MIXED, 1000)
    by_size = {size: request(call(subject, images, size)) for size in MIXED}
    return [by_size[int(size)] for size in sizes]


def by_h2load(subject: Subject, made: Call, *, connections: int, streams: int, seconds: float) -> dict[str, Any]:
    """The closed loop of h2load, which looks at no status: one answer is read before, and the sizes of all after.

    Raises:
        BenchmarkError: the server is gone, an answer is wrong, or some are missing.
    """
    made = replace(made, cell=replace(made.cell, connections=connections))
    reply_bytes = _answer(subject, made)
    drive(
        subject.address, made.method, made.message, connections=connections, streams=streams, seconds=_warm_up(seconds)
    )
    meter = Meter(subject)
    load = drive(
        subject.address, made.method, made.message, connections=connections, streams=streams, seconds=seconds, each=True
    )
    if load.failed:
        _answer(subject, made)  # says it if the server is gone
        raise BenchmarkError(
            f"{subject.name}: {load.failed:,} calls failed, beside {load.answered:,} that were answered"
        )
    made.require_answers(load, reply_bytes)
    numbers = meter.numbers(load.answered)
    refused = numbers.get("refused", 0)  # which h2load takes for answered
    right = load.calls_per_second * max(load.answered - refused, 0) / load.answered
    return {
        "calls": load.answered,
        "calls_per_second": round(right, 1),
        "images_per_second": round(right * made.cell.images, 1),
        "failed": {"refused": refused} if refused else {},
        "latency_us": None if refused else load.percentiles,
        **numbers,
    }


def _answer(subject: Subject, made: Call) -> int:
    """The size of the answer to a call, which is right."""
    sizes: list[int] = []

    def is_right(reply: bytes) -> bool:
        sizes.append(len(reply))
        return made.is_right(reply)

    asked = replace(request(made), is_right=is_right)
    closed_loop(subject.address, [asked], connections=1, seconds=0)  # connects by a call
    return sizes[0]


def by_generator(
    subject: Subject, requests: list[Request], *, connections: int, streams: int, seconds: float
) -> dict[str, Any]:
    """The closed loop of our own generator."""
    closed_loop(subject.address, requests, connections=connections, streams=streams, seconds=_warm_up(seconds))
    meter = Meter(subject)
    traffic = closed_loop(subject.address, requests, connections=connections, streams=streams, seconds=seconds)
    return _numbers(traffic, meter)


def in_the_open(subject: Subject, requests: list[Request], *, rate: float, seconds: float, seed: int) -> dict[str, Any]:
    """The open loop: calls of a rate a second, at times of chance."""
    open_loop(subject.address, requests, poisson(rate, _warm_up(seconds), seed), connections=CONNECTIONS)
    meter = Meter(subject)
    traffic = open_loop(subject.address, requests, poisson(rate, seconds, seed), connections=CONNECTIONS)
    return {"offered_calls_per_second": round(rate, 1), **_numbers(traffic, meter)}


def _warm_up(seconds: float) -> float:
    return min(WARM_UP, seconds / 2)


def _numbers(traffic: Traffic, meter: Meter) -> dict[str, Any]:
    return {**traffic.numbers(), **meter.numbers(len(traffic.done))}
