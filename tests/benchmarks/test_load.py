"""Load: calls and answers, our generator compared with h2load and with queueing theory, and h2load's output."""

import json
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.benchmarks import servers
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, JSON, RAW, UINT8, Call, call_of, latency_us
from digits.benchmarks.load.generator import closed_loop, open_loop, poisson
from digits.benchmarks.load.h2load import drive, parsed
from digits.benchmarks.load.measure import ClosedLoop
from digits.benchmarks.process import started
from digits.benchmarks.servers import free_address
from digits.benchmarks.settings import BENTOML, ECHO, OURS, TRITON

METHOD = "/stub/Serve"
STUB = (sys.executable, str(Path(__file__).with_name("stub_server.py")))
REPLY = struct.Struct("<dd")  # of the stub: when its service began, and when it ended
ANY = Call(METHOD, b"1", lambda _reply: True)
IMAGES = (np.zeros((64, 28, 28), np.uint8), np.zeros(64, np.int64))
needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")

# The output of h2load 1.52.0: -D 1, -c 4, an unknown method, so no answer has a body
REFUSED = """\
finished in 1.00s, 13956.00 req/s, 277.28KB/s
requests: 13956 total, 13960 started, 13956 done, 13956 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 13956 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 277.28KB (283938) total, 54.71KB (56028) headers (space savings 95.22%), 0B (0) data
"""
# -D 1s, -c 64, Triton
ANSWERED = """\
finished in 1.01s, 6993.00 req/s, 894.69KB/s
requests: 6993 total, 7057 started, 6993 done, 6993 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 6993 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 894.69KB (916158) total, 25.17KB (25779) headers (space savings 95.45%), 580.47KB (594405) data
"""


@contextmanager
def stub(service_ms: float, turns: str = "at once", *stall: float) -> Iterator[str]:
    address = free_address()
    with started([*STUB, address, *map(str, (service_ms, turns, *stall))], "stub: ready"):
        yield address


class Recorder:
    """A call of so many images that keeps the stub's times of each service."""

    def __init__(self, images: int = 1) -> None:
        self.times: list[tuple[float, float]] = []
        self.call = Call(METHOD, b"1", self._keep, images)

    def _keep(self, reply: bytes) -> bool:
        self.times.append(REPLY.unpack(reply))
        return True


def lindley(arrivals: NDArray[np.float64], services: NDArray[np.float64]) -> NDArray[np.float64]:
    """Waiting times in a queue of one server: W[n+1] = max(0, W[n] + S[n] - A[n]) (D. V. Lindley, 1952)."""
    waits = np.zeros(len(arrivals))
    for n, gap in enumerate(np.diff(arrivals)):
        waits[n + 1] = max(0.0, waits[n] + services[n] - gap)
    return waits


def percentiles(latencies: NDArray[np.float64]) -> dict[str, float]:
    found = latency_us(latencies)
    assert found is not None
    return found


def test_arrivals_are_a_poisson_process_of_their_seed() -> None:
    times = poisson(1000, 20, seed=1)
    np.testing.assert_array_equal(times, poisson(1000, 20, seed=1))
    assert not np.array_equal(times[:10], poisson(1000, 20, seed=2)[:10])
    assert 0 < times[0] < times[-1] < 20
    gaps = np.diff(times)
    assert (gaps > 0).all()
    assert len(times) == pytest.approx(20_000, abs=5 * 20_000**0.5)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as of exponential ones


def test_percentiles_are_microseconds_by_name() -> None:
    found = percentiles(np.arange(1001) / 1000)
    assert (found["p0"], found["p50"], found["p99.9"], found["p100"]) == (0, 500_000, 999_000, 1_000_000)
    assert latency_us([]) is None


def test_in_the_closed_loop_a_stream_has_one_call_in_flight() -> None:
    """By the stub's own clock: as many concurrent services as there are streams, and no more."""
    record = Recorder()
    with stub(10) as address:
        traffic = closed_loop(address, [record.call], connections=2, streams=3, seconds=0.5)
    began, ended = np.array(record.times).T
    at_once = [int(((began <= moment) & (moment < ended)).sum()) for moment in began]
    assert max(at_once) == 6
    assert len(traffic.times) == len(record.times) - 2 > 6  # that connected
    assert not traffic.failed
    assert (traffic.latencies >= 0.01).all()


def test_the_open_loop_sends_on_time_even_if_others_wait() -> None:
    """Twenty calls arrive at once at a server that takes 50 ms for each, one after the other."""
    with stub(50, "turns") as address:
        traffic = open_loop(address, [ANY], np.full(20, 0.01), connections=2)
    assert len(traffic.times) == 20
    assert traffic.latencies.max() >= 20 * 0.05
    assert np.sort(traffic.latencies)[0] < 10 * 0.05
    np.testing.assert_allclose(np.array(traffic.times)[:, 0], 0.01)


def test_requests_are_taken_in_turn() -> None:
    """So mixed sizes keep their proportions."""
    records = [Recorder(images) for images in (1, 8, 64)]
    with stub(1) as address:
        traffic = open_loop(address, [record.call for record in records], np.arange(30) / 100, connections=1)
    assert [len(record.times) for record in records] == [11, 10, 10]  # with the one that connected
    assert traffic.images == 10 * (1 + 8 + 64)


def test_a_wrong_answer_ends_the_load() -> None:
    answers = iter([True] * 10)  # which include those of the calls that connect
    wrong, says = Call(METHOD, b"1", lambda _reply: next(answers, False)), "a wrong answer to 1 images, after 6 right"
    with stub(1) as address, pytest.raises(BenchmarkError, match=says):
        closed_loop(address, [wrong], connections=4, seconds=5)


def test_a_missing_server_is_reported() -> None:
    address = free_address()
    with pytest.raises(BenchmarkError, match=rf"{address}.*UNAVAILABLE: .*"):
        closed_loop(address, [ANY], connections=1, seconds=5)


@pytest.mark.slow
@needs_h2load
@pytest.mark.parametrize("connections", [1, 4, 16])
def test_it_agrees_with_h2load_on_a_server_of_20_ms(connections: int) -> None:
    with stub(20) as address:
        ours = closed_loop(address, [ANY], connections=connections, seconds=5)
        theirs = drive(address, ANY, connections=connections, seconds=5, percentiles=True)
    assert len(ours.times) / ours.seconds == pytest.approx(theirs.calls_per_second, rel=0.05)
    assert theirs.percentiles is not None
    assert percentiles(ours.latencies)["p50"] == pytest.approx(theirs.percentiles["p50"], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_times_are_those_of_lindleys_recursion(load: float) -> None:
    """On the same arrivals, with the service times that the stub has recorded."""
    arrivals, record = poisson(load / 0.08, 20, seed=3), Recorder()
    with stub(80, "turns") as address:
        traffic = open_loop(address, [record.call], arrivals, connections=4)
    services = np.diff(record.times[4:]).ravel()  # without the calls that connected
    intended = np.array(traffic.times)[:, 0]
    order = np.argsort(intended)  # answers arrive in the order of the calls, unless two have overtaken
    waits = (traffic.latencies - services)[order]
    assert len(waits) == len(arrivals) > 100
    assert waits.mean() == pytest.approx(lindley(np.sort(intended), services[order]).mean(), rel=0.1)


@pytest.mark.slow
def test_a_stall_of_a_second_is_in_the_open_loops_percentiles_and_not_in_the_closed_loops() -> None:
    """The calls that were to be sent in the stalled second wait for half of it, in the mean."""
    with stub(1, "at once", 2, 1) as address:
        seen = open_loop(address, [ANY], poisson(200, 5, seed=4), connections=4)
    assert 0.9 < percentiles(seen.latencies)["p99.9"] / 1e6 < 1.2
    assert 0.1 < (seen.latencies > 0.1).mean() < 0.3
    with stub(1, "at once", 2, 1) as address:
        blind = closed_loop(address, [ANY], connections=1, seconds=5)
    assert (blind.latencies > 0.1).sum() == 1


def test_the_output_and_the_log_of_h2load_are_read() -> None:
    load = parsed(ANSWERED)
    assert tuple(load) == (6993.0, 6993, 0, 6993 * 85, None)
    log = "".join(f"{1_795_577_660_511_246 + i}\t200\t{i}\n" for i in range(101))
    found: Any = parsed(REFUSED, log).percentiles
    assert (found["p0"], found["p50"], found["p99"], found["p100"]) == (0, 50, 99, 100)
    printed = ANSWERED.replace("0 failed, 0 errored", "7 failed, 5 errored").replace("0 5xx", "2 5xx")
    assert parsed(printed).failed == 7
    with pytest.raises(BenchmarkError, match="h2load did not print"):
        parsed("h2load: command line error")
    call = call_of(CLASSIFY, OURS, IMAGES, 1)
    load.require_bodies(call, 80)
    with pytest.raises(BenchmarkError, match="13,956 calls brought 0 bytes"):  # they failed with a status
        parsed(REFUSED).require_bodies(call, 80)


def test_an_answer_is_read_by_the_kind_of_its_call() -> None:
    digits = np.array([7, 1])
    rows, images = np.eye(10, dtype="<f4")[digits], (IMAGES[0], digits)
    raw, text = (call_of(kind, BENTOML, images, 2) for kind in (RAW, JSON))
    assert raw.is_right(rows.tobytes())
    assert text.is_right(json.dumps(rows.tolist()).encode())
    wrong = ((raw, rows[::-1].tobytes()), (raw, b"Not Found"), (text, b'{"error": "busy"}'))
    for call, reply in (*wrong, (call_of(UINT8, TRITON, images, 2), b"Not Found")):
        assert not call.is_right(reply)
    assert json.loads(text.message) == {"pixels": IMAGES[0][:2].tolist()}
    assert (raw.content_type, text.content_type) == ("application/octet-stream", "application/json")


@needs_h2load
def test_a_server_is_measured_paused_and_ended() -> None:
    call = call_of(CLASSIFY, ECHO, IMAGES, 1)
    with servers.serving(ECHO) as server:
        process = server.process
        assert process is not None
        repeat = ClosedLoop(1).measured(server, [call], 0.2)
        assert 0 < repeat["latency_us"]["p50"] <= repeat["latency_us"]["p99"]
        assert repeat["cpu_us"] > 0
        assert 1 < repeat["resident_mb"] < 1000
        with pytest.raises(BenchmarkError, match=r"echo: .*UNIMPLEMENTED"):
            ClosedLoop(4).measured(server, [call._replace(method="/nobody/has.this")], 0.2)
        with process.paused(), pytest.raises(BenchmarkError, match="DEADLINE_EXCEEDED"):
            call.require_answer(server.address, 0.5)
        assert call.require_answer(server.address) == len(call.message)
        assert not process.has_ended()
    assert process.has_ended()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.MODULES, ECHO, (("digits.nothing",), "ready"))
    with pytest.raises(BenchmarkError, match=r"ended with 1: .*No module named digits\.nothing"), servers.serving(ECHO):
        pass
