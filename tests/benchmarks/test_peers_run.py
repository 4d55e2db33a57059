"""The benchmark of the peers: it reads h2load aright, notices calls that failed, and leaves nothing running."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from digits.benchmarks import servers
from digits.benchmarks.calls import call_of
from digits.benchmarks.cells import CLASSIFY_1, CLASSIFY_16, CLASSIFY_64, IMAGES_64
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.h2load import drive, parsed
from digits.benchmarks.peers.acceptance import acceptance
from digits.benchmarks.peers.in_process import InProcess
from digits.benchmarks.peers.overload import Overload, OverloadResult, overload
from digits.benchmarks.peers.result import Measured, Memory, PeersResult, Round
from digits.benchmarks.settings import BASELINE, ECHO, OURS, SPINNING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from numpy.typing import NDArray

    Digits = Callable[..., subprocess.CompletedProcess[str]]

needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")

# h2load 1.52.0, as it printed: -D 1, -c 4, a method that nobody has, so every answer is without a body
REFUSED = """\
finished in 1.00s, 13956.00 req/s, 277.28KB/s
requests: 13956 total, 13960 started, 13956 done, 13956 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 13956 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 277.28KB (283938) total, 54.71KB (56028) headers (space savings 95.22%), 0B (0) data
                     min         max         mean         sd        +/- sd
time for request:       35us      4.48ms       122us        91us    96.77%
time for connect:       92us       142us       123us        21us    75.00%
time to 1st byte:      543us       723us       615us        79us    75.00%
req/s           :    5248.99     5830.96     5485.00      248.55    75.00%
"""
# -D 1s, -c 64, Triton
ANSWERED = """\
finished in 1.01s, 6993.00 req/s, 894.69KB/s
requests: 6993 total, 7057 started, 6993 done, 6993 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 6993 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 894.69KB (916158) total, 25.17KB (25779) headers (space savings 95.45%), 580.47KB (594405) data
                     min         max         mean         sd        +/- sd
time for request:     2.19ms     25.15ms      8.71ms      3.34ms    72.60%
"""
PIXELS, DIGITS = np.zeros((64, 28, 28), np.uint8), np.zeros(64, np.int64)


def test_what_h2load_printed_is_read() -> None:
    load = parsed(ANSWERED)
    assert (load.calls_per_second, load.answered, load.failed) == (6993.0, 6993, 0)
    assert load.body_bytes == 594_405 == 6993 * 85
    assert load.mean_microseconds == pytest.approx(8710)
    assert load.percentiles is None


def test_percentiles_are_those_of_the_log_file() -> None:
    log = "".join(f"{1_795_577_660_511_246 + i}\t200\t{i}\n" for i in range(101))
    percentiles = parsed(REFUSED, log).percentiles
    assert percentiles is not None
    assert (percentiles["p0"], percentiles["p50"], percentiles["p99"], percentiles["p100"]) == (0, 50, 99, 100)


def test_calls_without_an_answer_are_counted() -> None:
    printed = ANSWERED.replace("0 failed, 0 errored", "7 failed, 5 errored").replace("0 5xx", "2 5xx")
    assert parsed(printed).failed == 7


def test_what_is_not_its_output_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="h2load printed nothing like"):
        parsed("h2load: command line error")


def test_calls_that_failed_with_a_status_are_noticed() -> None:
    """To h2load they are answers like any other."""
    call = call_of(CLASSIFY_64, OURS, PIXELS, DIGITS)
    call.require_answers(parsed(ANSWERED), 80)
    with pytest.raises(BenchmarkError, match="13956 calls brought 0 bytes"):
        call.require_answers(parsed(REFUSED), 80)


@needs_h2load
def test_a_server_is_loaded_and_ended() -> None:
    call = call_of(CLASSIFY_1, ECHO, PIXELS, DIGITS)
    with servers.serving(ECHO) as process:
        before = process.cpu_seconds()
        size = call.require_answer(process.address)
        load = drive(process.address, call.method, call.message, connections=1, seconds=0.2)
        call.require_answers(load, size)
        assert load.percentiles is not None
        assert 0 < load.percentiles["p50"] <= load.percentiles["p99"]
        assert process.cpu_seconds() > before
        assert 1 < process.resident_mb() < 1000
        refused = drive(process.address, "/nobody/has.this", call.message, connections=4, calls=100)
        with pytest.raises(BenchmarkError, match="some of them failed"):
            call.require_answers(refused, size)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.MODULES, ECHO, (("digits.nothing",), "ready"))
    with pytest.raises(BenchmarkError, match=r"ended with 1: .*No module named digits\.nothing"), servers.serving(ECHO):
        pass


def test_a_missing_h2load_is_one_line(digits: Digits) -> None:
    completed = digits("bench", "peers", "--data", "embedded", env={"PATH": "/nowhere"})
    assert completed.returncode == 1
    assert completed.stderr == "digits: h2load is not installed: it is in the Debian package nghttp2-client\n"


def test_an_unknown_server_is_named(digits: Digits) -> None:
    completed = digits("bench", "peers", "--servers", "ours,nobody")
    assert completed.returncode == 2
    assert '"nobody" is no server to measure' in completed.stderr


def measured(rate: float, cpu: float = 10, p50: float = 100) -> Measured:
    return Measured(rate, rate, 0, 100, {"p50": p50}, cpu)


def test_what_is_to_be_reached_is_judged_within_each_round() -> None:
    """By the median of the rounds' ratios; what was not measured has no line."""
    rounds = [
        Round(
            InProcess(microseconds=10, images_per_second=400_000),
            {
                CLASSIFY_1.name: {SPINNING: measured(1, p50=120), ECHO: measured(1, p50=100)},
                CLASSIFY_16.name: {OURS: measured(ratio * pace), BASELINE: measured(pace)},
            },
        )
        for ratio, pace in ((9, 1000), (11, 10), (12, 500))
    ]
    probe = {"OK": 5, "RESOURCE_EXHAUSTED": 90, "UNKNOWN": 1}
    load = Overload(2.0, 200.0, 55.0, 9, probe, probe_longest=0.5, peak_mb=200.0, after_mb=115.0, lone_after=0.006)
    flood = OverloadResult(capacity=100.0, start_mb=100.0, lone=0.006, loads=[load])
    result = PeersResult(rounds, [0.5, 2.0, 0.6], Memory([200, 1000], [70.0, 121.0]), flood)
    lines = {line.what: line for line in acceptance(result)}
    assert (lines["rate over grpc.aio's, 16 connections"].value, lines["rate over grpc.aio's, 16 connections"].met) == (
        11,
        True,
    )
    assert lines["p50 over the echo's and 4 runs, 1 connection, spinning"].value == pytest.approx(120 / 140, abs=1e-3)
    assert lines["seconds from exec to ready"].met
    assert not lines["MB resident after 1,000 calls"].met
    assert lines["MB more after 1,000 calls than after 200"].value == 51
    assert "rate over grpc.aio's, 64 connections" not in lines
    of = "2 times the capacity offered"
    assert not lines[f"images answered over the capacity, {of}"].met
    assert lines[f"probe calls with another status, {of}"].value == 1
    assert lines[f"MB more a second after {of}"].met


@needs_h2load
def test_the_server_beside_an_echo(digits: Digits, tmp_path: Path) -> None:
    file, options = tmp_path / "peers.json", "--servers ours,echo --rounds 1 --seconds 0.2 --starts 1"
    arguments = f"{options} --memory-requests 1000 --overload-seconds 0".split()
    completed = digits("bench", "peers", "--data", "embedded", *arguments, "--out", file)
    assert completed.returncode == 0, completed.stderr
    assert "rate over the echo's, 64 connections" in completed.stdout
    result = json.loads(file.read_text())
    assert result["command"] == f"digits bench peers {options} --memory-requests 1000 --overload-seconds 0.0"
    assert result["overload"] is None
    cell = result["rounds"][0]["cells"]["Classify, 64 connections"]
    assert cell.keys() == {"ours", "echo"}
    assert all(
        one["calls_per_second"] > 0 and one["cpu_microseconds"] > 0 and not one["failed"] for one in cell.values()
    )
    assert result["medians"]["Classify, 64 connections"] == cell
    assert result["memory"]["calls"] == [200, 400, 600, 800, 1000]
    assert {"machine", "versions", "commit", "data", "model", "ready_seconds", "acceptance"} <= result.keys()
    assert str(tmp_path) not in file.read_text()


@needs_h2load
def test_ctrl_c_leaves_nothing_running_and_keeps_what_is_measured(starting: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("--data", "embedded", "--servers", "echo,baseline", "--rounds", 100, "--starts", 0, "--seconds", 0.1)
    with starting("bench", "peers", *arguments, "--out", tmp_path / "peers.json") as (process, stderr):
        while "round 2" not in (line := process.stdout.readline()):
            assert line, stderr.read_text()
        children = [
            int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert stderr.read_text().splitlines()[-1] == "digits: interrupted"
    kept = json.loads((tmp_path / "peers.partial.json").read_text())
    assert not kept["complete"]
    assert len(kept["rounds"]) >= 1
    assert {one["subject"] for one in kept["measurements"]} == {"echo", "grpc.aio, fp32"}
    assert not (tmp_path / "peers.json").exists()
    while any(Path(f"/proc/{child}").exists() for child in children):
        pass  # the test's own time limit ends it


@needs_h2load
@pytest.mark.slow
def test_an_overload(test_digits: NDArray[np.uint8]) -> None:
    """The server's own counters agree with what was offered, and the probe is told the truth in time."""
    digits = np.zeros(64, np.int64)
    found = overload(call_of(IMAGES_64, OURS, test_digits, digits), seconds=2)
    assert [load.factor for load in found.loads] == [1.5, 2.0]
    for load in found.loads:
        assert 0 < load.goodput < load.offered
        assert load.failed > 0
        assert load.probe.keys() <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
