"""The generator of loads: it agrees with h2load, with the theory of queues, and lets no stall go unseen."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from digits.benchmarks import stub_server
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.generator import Request, closed_loop, open_loop, poisson
from digits.benchmarks.h2load import drive
from digits.benchmarks.latency import latency_us
from digits.benchmarks.process import started
from digits.benchmarks.servers import free_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

METHOD = "/stub/Serve"
STUB = (sys.executable, "-m", "digits.benchmarks.stub_server")
ANY = Request(METHOD, b"1", lambda _reply: True)
needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")


@contextmanager
def stub(*options: object) -> Iterator[str]:
    address = free_address()
    with started([*STUB, *map(str, options), address], address, stub_server.READY):
        yield address


def lindley(arrivals: NDArray[np.float64], services: NDArray[np.float64]) -> NDArray[np.float64]:
    """Waiting times in a queue of one server: W[n+1] = max(0, W[n] + S[n] - A[n]) (D. V. Lindley, 1952)."""
    waits = np.zeros(len(arrivals))
    for n, gap in enumerate(np.diff(arrivals)):
        waits[n + 1] = max(0.0, waits[n] + services[n] - gap)
    return waits


def test_arrivals_are_those_of_a_poisson_process_and_of_their_seed() -> None:
    times = poisson(1000, 20, seed=1)
    np.testing.assert_array_equal(times, poisson(1000, 20, seed=1))
    assert not np.array_equal(times[:10], poisson(1000, 20, seed=2)[:10])
    assert times[0] > 0
    assert times[-1] < 20
    gaps = np.diff(times)
    assert (gaps > 0).all()
    assert len(times) == pytest.approx(20_000, abs=5 * 20_000**0.5)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as exponential ones have it


def test_percentiles_are_microseconds_by_name() -> None:
    found = latency_us(np.arange(1001) / 1000)
    assert (found["p0"], found["p50"], found["p99.9"], found["p100"]) == (0, 500_000, 999_000, 1_000_000)


def test_in_the_closed_loop_a_stream_has_one_call_on_its_way() -> None:
    """By the stub's own clock: so many services at a time as there are streams, and no more."""
    times: list[tuple[float, float]] = []

    def keep(reply: bytes) -> bool:
        times.append(stub_server.REPLY.unpack(reply))
        return True

    with stub("--service-ms", 10) as address:
        traffic = closed_loop(address, [Request(METHOD, b"1", keep)], connections=2, streams=3, seconds=0.5)
    began, ended = np.array(times).T
    at_once = [int(((began <= moment) & (moment < ended)).sum()) for moment in began]
    assert max(at_once) == 6
    assert len(traffic.done) == len(times) - 2 > 6  # which connected
    assert not traffic.failed
    assert (traffic.latencies >= 0.01).all()


def test_the_open_loop_sends_when_it_is_to_send_whoever_waits() -> None:
    """Of one at a time, each 50 ms, twenty calls come at once: the last is answered after all of them."""
    with stub("--service-ms", 50, "--one-at-a-time") as address:
        traffic = open_loop(address, [ANY], np.full(20, 0.01), connections=2)
    assert len(traffic.done) == 20
    assert traffic.latencies.max() >= 20 * 0.05
    assert np.sort(traffic.latencies)[0] < 10 * 0.05
    np.testing.assert_allclose(traffic.intended, 0.01)


def test_requests_are_taken_in_turn() -> None:
    """So that mixed sizes are as mixed as they were given."""
    seen: list[int] = []

    def of(images: int) -> Request:
        def keep(_reply: bytes) -> bool:
            seen.append(images)
            return True

        return Request(METHOD, b"1", keep, images)

    requests = [of(images) for images in (1, 8, 64)]
    with stub("--service-ms", 1) as address:
        traffic = open_loop(address, requests, np.arange(30) / 100, connections=1)
    assert [seen[1:].count(i) for i in (1, 8, 64)] == [10, 10, 10]  # after the one that connected
    assert traffic.images == 10 * (1 + 8 + 64)


def test_a_wrong_answer_ends_the_load() -> None:
    answers = iter([True] * 10)  # which include those of the calls that connect
    wrong = Request(METHOD, b"1", lambda _reply: next(answers, False))
    with (
        stub("--service-ms", 1) as address,
        pytest.raises(BenchmarkError, match="a wrong answer to 1 images, after 6 right answers"),
    ):
        closed_loop(address, [wrong], connections=4, seconds=5)


def test_a_server_that_is_not_there_is_said_to_be_so() -> None:
    address = free_address()
    with pytest.raises(BenchmarkError, match=rf"{address}.*UNAVAILABLE: .*"):
        closed_loop(address, [ANY], connections=1, seconds=5)


@pytest.mark.slow
@needs_h2load
@pytest.mark.parametrize("connections", [1, 4, 16])
def test_it_agrees_with_h2load_on_a_server_of_20_ms(connections: int) -> None:
    with stub("--service-ms", 20) as address:
        ours = closed_loop(address, [ANY], connections=connections, seconds=5)
        theirs = drive(address, METHOD, b"1", connections=connections, seconds=5, each=True)
    assert ours.calls_per_second == pytest.approx(theirs.calls_per_second, rel=0.05)
    assert theirs.percentiles is not None
    assert latency_us(ours.latencies)["p50"] == pytest.approx(theirs.percentiles["p50"], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_times_are_those_of_lindleys_recursion(load: float) -> None:
    """On the same arrivals, with the services that a stub of one at a time has recorded."""
    services: list[float] = []

    def keep(reply: bytes) -> bool:
        began, ended = stub_server.REPLY.unpack(reply)
        services.append(ended - began)
        return True

    arrivals = poisson(load / 0.08, 20, seed=3)
    with stub("--service-ms", 80, "--one-at-a-time") as address:
        traffic = open_loop(address, [Request(METHOD, b"1", keep)], arrivals, connections=4)
    services = services[4:]  # without the calls that connected
    order = np.argsort(traffic.intended)  # answers come in the order of the calls, unless two of them overtook
    waits = (traffic.latencies - services)[order]
    expected = lindley(np.sort(traffic.intended), np.array(services)[order])
    assert len(waits) == len(arrivals) > 100
    assert waits.mean() == pytest.approx(expected.mean(), rel=0.1)


@pytest.mark.slow
def test_a_stall_of_a_second_is_in_the_open_loops_percentiles_and_not_in_the_closed_loops() -> None:
    """Of 200 calls a second, those that were to be sent in the stalled second wait, in the mean, half of it."""
    with stub("--service-ms", 1, "--stall", 2, 1) as address:
        seen = open_loop(address, [ANY], poisson(200, 5, seed=4), connections=4)
    assert 0.9 < latency_us(seen.latencies)["p99.9"] / 1e6 < 1.2
    assert 0.1 < (seen.latencies > 0.1).mean() < 0.3
    with stub("--service-ms", 1, "--stall", 2, 1) as address:
        blind = closed_loop(address, [ANY], connections=1, seconds=5)
    assert (blind.latencies > 0.1).sum() == 1
