"""`digits bench peers`: a peer is measured in turn with ours, what is wrong with it is reported, nothing is lost."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.benchmarks import servers
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, RAW, UINT8, Point, call_of
from digits.benchmarks.load.measure import ClosedLoop, ServerUnderTest
from digits.benchmarks.measurement import measuring
from digits.benchmarks.peers.acceptance import acceptance
from digits.benchmarks.peers.benchmark import Bench
from digits.benchmarks.peers.overload import overload
from digits.benchmarks.peers.peer import CATALOGUE, peer_serving
from digits.benchmarks.peers.report import in_turn, peers_section
from digits.benchmarks.process import started
from digits.benchmarks.settings import MOSEC, OURS, OWN, SERVERS, PeersBenchmarkSettings
from digits.images.mnist import Mnist
from digits.model.repository import open_repository

needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")

# Answers that every image is a 0, and every n-th request with 503.
STUB = """
import struct, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version, wbufsize, count = "HTTP/1.1", 65536, 0

    def do_POST(self):
        images = len(self.rfile.read(int(self.headers["content-length"]))) // 784
        Handler.count += 1
        self.send_response(503 if Handler.count % int(sys.argv[2]) == 0 else 200)
        self.send_header("content-length", str(40 * images))
        self.end_headers()
        self.wfile.write(struct.pack("<10f", 1, *[0] * 9) * images)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("stub: ready", flush=True)
server.serve_forever()
"""
IMAGES = (np.zeros((64, 28, 28), np.uint8), np.zeros(64, np.int64))


@contextmanager
def stub(every: int) -> Iterator[ServerUnderTest]:
    address = servers.free_address()
    command = [sys.executable, "-c", STUB, address.rpartition(":")[2], str(every)]
    with started(command, "stub: ready") as process:
        yield ServerUnderTest("mosec", address, process, MOSEC)


def row(system: str, point: Point, *rates: float, p50: float = 100) -> dict[str, Any]:
    """A measurement with a repeat for each rate."""
    more = {"failed": {}, "cpu_us": 10, "latency_us": {"p50": p50, "p99": p50}}
    repeats = [{"calls_per_second": rate, "images_per_second": rate, **more} for rate in rates]
    return {"system": system, "load": {"loop": "closed", **point.load}, "repeats": repeats}


def findings(**more: Any) -> dict[str, Any]:
    model = {"name": "digits", "version": 1, "variant": "int8"}
    return {"model": model, "in_process": [], "ready_seconds": [], "peers": []} | more


def test_every_server_of_the_option_exists() -> None:
    assert set(SERVERS) == set(OWN) | set(CATALOGUE)
    assert all(peer.requirements[0].partition("==")[2] for peer in CATALOGUE.values())


@needs_h2load
def test_answers_with_another_status_are_not_counted() -> None:
    with stub(every=4) as server:
        loop = ClosedLoop(4, percentiles=False, warm_up=False)
        one = loop.measured(server, [call_of(RAW, MOSEC, IMAGES, 1)], 0.5)
    failed = one["failed"]["no answer"]
    assert one["calls_per_second"] * 0.5 == pytest.approx(3 * failed, rel=0.2)


@needs_h2load
def test_a_peer_that_answers_wrongly_is_left_out_and_ours_is_an_error(data: Mnist, tmp_path: Path) -> None:
    settings, failed = PeersBenchmarkSettings(seconds=0.1, out=tmp_path / "peers.json"), dict[str, str]()
    with measuring("peers", settings, data) as result, servers.serving(OURS) as ours, stub(1_000_000) as peer:
        bench, point = Bench(settings, data, result), Point(RAW, 64, 4)
        bench.pair(CATALOGUE[MOSEC], (ours, peer), point, failed, 0)
        assert failed == {str(point): f"mosec: a wrong answer of 2,560 bytes, under {point}"}
        assert [(one["system"], one["load"]["method"]) for one in result.rows] == [(in_turn("mosec"), CLASSIFY)]
        with pytest.raises(BenchmarkError, match="mosec: "):
            bench.pair(CATALOGUE[MOSEC], (replace(peer, kind=OURS), ours), point, failed, 0)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """Not the ratio of the medians: a disturbance of the machine hits both servers of a round."""
    triton, mosec = (
        {key: getattr(CATALOGUE[name], key) for key in ("name", "title", "version", "batching")}
        | {"why_not": why, "failed_loads": {}}
        for name, why in (("triton", None), (MOSEC, "no network"))
    )
    title, point = triton["title"], Point(UINT8, 1, 16)
    rows = [row(in_turn(title), point, 1000, 10, 500), row(title, point, 500, 2, 100)]
    found = findings(peers=[triton, mosec])
    found["acceptance"] = acceptance(rows, found)
    (line,) = found["acceptance"]
    assert (line["what"], line["value"], line["met"]) == (f"ModelInfer UINT8 over {title}, 16 connections", 5, True)
    section = peers_section({"benchmark": "peers", "measurements": rows, "findings": found})
    assert section.tables[0].rows[0][-3:] == ["5.0", "10", "10"]
    assert "mosec is left out: no network." in section.text


def test_acceptance_is_judged_within_each_round() -> None:
    """By the median of the rounds' ratios; what was not measured has no line."""
    single, many = Point(CLASSIFY, 1, 1), Point(CLASSIFY, 1, 16)
    rows = [
        row("digits, spinning", single, 1, 1, 1, p50=120),
        row("echo", single, 1, 1, 1, p50=100),
        row("digits", many, 9 * 1000, 11 * 10, 12 * 500),
        row("grpc.aio, fp32", many, 1000, 10, 500),
    ]
    load = {"factor": 2.0, "goodput": 55.0, "probe": {"OK": 5, "RESOURCE_EXHAUSTED": 90, "UNKNOWN": 1}}
    load |= {"probe_longest": 0.5, "after_mb": 115.0, "single_after": 0.006}
    found = findings(
        in_process=[{"microseconds": 10, "images_per_second": 400_000}] * 3,
        ready_seconds=[0.5, 2.0, 0.6],
        memory={"calls": [200, 1000], "resident_mb": [70.0, 121.0]},
        overload={"capacity": 100.0, "start_mb": 100.0, "single_seconds": 0.006, "loads": [load]},
    )
    lines, times = acceptance(rows, found), "2 times the capacity offered"
    assert {line["what"]: (line["value"], line["met"]) for line in lines} == {
        "rate over grpc.aio's, 16 connections": (11, True),
        "p50 over the echo's and 4 runs, 1 connection, spinning": (round(120 / 140, 3), True),
        "calls that failed": (0, True),
        "seconds from exec to ready": (0.6, True),
        "MB resident after 1,000 calls": (121, False),
        "MB more after 1,000 calls than after 200": (51, False),
        f"images answered over the capacity, {times}": (0.55, False),
        f"probe calls with another status, {times}": (1, False),
        f"seconds of the probe's longest call, {times}": (0.5, True),
        f"MB more a second after {times}": (15, True),
        f"time of a single call, a second after {times}": (1, True),
    }


@needs_h2load
@pytest.mark.slow
def test_a_peer_that_cannot_be_installed_is_reported(bench: Callable[..., Any], tmp_path: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
    places = {"PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    options = ("--data", "embedded", "--servers", "mosec", "--cache", tmp_path / "cache")
    _, result, printed = bench("peers", *options, env=nowhere | places)
    says = "mosec==0.9.8 cannot be installed: "
    assert f"mosec is left out: {says}ERROR: No matching distribution" in printed
    (peer,) = result["findings"]["peers"]
    assert peer["why_not"].startswith(says)
    assert not result["measurements"]
    assert str(tmp_path) not in json.dumps(result)


@needs_h2load
@pytest.mark.slow
def test_a_peer_is_installed_and_measured(bench: Callable[..., Any], tmp_path: Path) -> None:
    options = ("--data", "embedded", "--servers", "mosec", "--rounds", 2, "--seconds", 0.2)
    places = ("--cache", tmp_path / "cache")
    _, result, _ = bench("peers", *options, *places)
    (peer,) = result["findings"]["peers"]
    assert (peer["why_not"], peer["failed_loads"]) == (None, {})
    assert [len(one["repeats"]) for one in result["measurements"]] == [2] * 8
    assert "installing" not in bench("peers", *options, *places).printed
    broken = CATALOGUE[MOSEC]._replace(command=[sys.executable, "-c", "raise SystemExit('no such flag')"])
    call, file = call_of(RAW, MOSEC, IMAGES, 1), open_repository(None).open().file("fp32")
    starting = peer_serving(broken, tmp_path / "cache", file, call)
    with pytest.raises(BenchmarkError, match="ended with 1: no such flag"), starting:
        pass


@pytest.mark.parametrize(
    ("options", "path", "code", "message"),
    [
        (["--data", "embedded"], "/nowhere", 1, "h2load is not installed: it is in the Debian package nghttp2-client"),
        (["--servers", "ours,nobody"], os.environ["PATH"], 2, '"nobody" is not a server'),
    ],
)
def test_what_is_missing_or_unknown_is_one_line(
    refused: Callable[..., str], options: list[str], path: str, code: int, message: str
) -> None:
    assert message in refused("peers", *options, code=code, env={"PATH": path})


@needs_h2load
def test_our_server_is_compared_with_an_echo(bench: Callable[..., Any]) -> None:
    options = "--servers ours,echo --rounds 1 --seconds 0.1 --starts 1 --memory-requests 1000 --overload-seconds 0.0"
    _, result, printed = bench("peers", "--data", "embedded", *options.split())
    assert "rate over the echo's, 64 connections" in printed
    assert result["command"] == f"digits bench peers {options}"
    found = result["findings"]
    assert found["memory"]["calls"] == [200, 400, 600, 800, 1000]
    assert found.keys() == {"model", "in_process", "ready_seconds", "peers", "memory", "acceptance"}
    own = [one for one in result["measurements"] if one["load"]["connections"] == 64]
    assert {one["system"] for one in own} == {"digits", "echo"}
    for one in own:
        (repeat,) = one["repeats"]
        assert min(repeat["calls_per_second"], repeat["cpu_us"]) > 0
        assert not repeat["failed"]


@needs_h2load
def test_ctrl_c_leaves_nothing_running_and_keeps_what_was_measured(ended: Callable[..., Any]) -> None:
    options = ("--data", "embedded", "--servers", "echo,baseline", "--rounds", 100, "--starts", 0, "--seconds", 0.1)
    found = ended("peers", *options, until="round 2", end=lambda process, _: process.send_signal(signal.SIGINT))
    assert (found.code, found.error.splitlines()[-1]) == (130, "digits: interrupted")
    assert len(found.partial["findings"]["in_process"]) >= 1
    assert {one["system"] for one in found.partial["measurements"]} == {"echo", "grpc.aio, fp32"}
    assert len(found.children) >= 2
    while any(Path(f"/proc/{child}").exists() for child in found.children):
        pass  # the test's own time limit ends it


@needs_h2load
@pytest.mark.slow
def test_an_overload(test_digits: NDArray[np.uint8]) -> None:
    """The server's own counters agree with what was offered, and the probe gets its status in time."""
    found = overload(call_of(CLASSIFY, OURS, (test_digits, IMAGES[1]), 64), seconds=2)
    assert [load["factor"] for load in found["loads"]] == [1.5, 2.0]
    for load in found["loads"]:
        assert 0 < load["goodput"] < load["offered"]
        assert load["probe"].keys() <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
