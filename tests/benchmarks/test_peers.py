"""A peer beside ours: what it answers is checked, what is wrong with it is a row, and neither disturbs the other."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from digits.benchmarks import servers
from digits.benchmarks.calls import call_of
from digits.benchmarks.cells import CLASSIFY, CLASSIFY_1, JSON, RAW, UINT8, Cell
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.exchange import exchange
from digits.benchmarks.peers.acceptance import acceptance
from digits.benchmarks.peers.catalogue import CATALOGUE
from digits.benchmarks.peers.duel import Arena, Duel, Pairs
from digits.benchmarks.peers.in_process import Model
from digits.benchmarks.peers.loading import measured
from digits.benchmarks.peers.peer import serving
from digits.benchmarks.peers.result import Measured, PeersResult
from digits.benchmarks.peers.table import duels_table
from digits.benchmarks.process import started
from digits.benchmarks.settings import BENTOML, ECHO, HOUSE, MOSEC, OURS, SERVERS, TRITON
from digits.model.repository import open_repository
from digits.model.selection import select

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.benchmarks.process import ServerProcess

    Digits = Callable[..., subprocess.CompletedProcess[str]]

needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")

# Takes every image for a 0, and answers every n-th request with 503.
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
PIXELS, ZEROS = np.zeros((64, 28, 28), np.uint8), np.zeros(64, np.int64)


@contextmanager
def stub(every: int) -> Iterator[ServerProcess]:
    address = servers.free_address()
    command = [sys.executable, "-c", STUB, address.rpartition(":")[2], str(every)]
    with started(command, address, "stub: ready") as process:
        yield process


def rate(calls_per_second: float) -> Measured:
    return Measured(calls_per_second, calls_per_second, 0, 100, None, 10)


def test_every_peer_that_can_be_asked_for_is_known() -> None:
    assert set(SERVERS) == set(HOUSE) | set(CATALOGUE)
    assert all(peer.requirements[0].partition("==")[2] for peer in CATALOGUE.values())


@needs_h2load
def test_answers_with_another_status_count_as_none() -> None:
    call = call_of(Cell(RAW, 1, 4), MOSEC, PIXELS, ZEROS)
    with stub(every=4) as process:
        one = measured(call, process, seconds=0.5)
    assert one.failed > 0
    assert one.calls_per_second * 0.5 == pytest.approx(3 * one.failed, rel=0.2)


def test_an_answer_is_read_as_it_was_asked_for() -> None:
    digits = np.array([7, 1])
    rows = np.eye(10, dtype="<f4")[digits]
    raw, text = (call_of(Cell(kind, 2, 1), BENTOML, PIXELS, digits) for kind in (RAW, JSON))
    assert raw.is_right(rows.tobytes())
    assert text.is_right(json.dumps(rows.tolist()).encode())
    assert not raw.is_right(rows[::-1].tobytes())
    assert not raw.is_right(b"Not Found")
    assert not text.is_right(b'{"error": "busy"}')
    assert not call_of(Cell(UINT8, 2, 1), TRITON, PIXELS, digits).is_right(b"Not Found")
    assert json.loads(text.message) == {"pixels": PIXELS[:2].tolist()}
    assert (raw.content_type, text.content_type) == ("application/octet-stream", "application/json")


@pytest.mark.slow
@needs_h2load
def test_a_peer_that_answers_wrongly_is_let_off_and_ours_is_not(test_digits: NDArray[np.uint8]) -> None:
    version = open_repository(None).open()
    model = Model(version, select(version, provider="cpu"), test_digits)
    pairs, measurements = Pairs(Cell(RAW, 64, 4)), list[dict[str, object]]()
    with servers.serving(OURS, model.variant) as ours, stub(every=1_000_000) as peer:
        arena = Arena(CATALOGUE[MOSEC], {OURS: ours, MOSEC: peer}, model, 0.1, measurements)
        for ours_first in (True, False):
            arena.measure(pairs, ours_first=ours_first)
    assert pairs.why_not == "mosec, HTTP bytes of 64 images, 4 connections: a wrong answer of 2560 bytes"
    assert (len(pairs.ours), len(pairs.peers), pairs.ratio) == (1, 0, None)
    assert [(one["subject"], one["load"]) for one in measurements] == [
        ("digits beside mosec", {"call": CLASSIFY, "images": 64, "connections": 4})
    ]
    arena = Arena(CATALOGUE[MOSEC], {OURS: peer, MOSEC: ours}, model, 0.1, [])
    with pytest.raises(BenchmarkError, match="ours, Classify"):
        arena.measure(Pairs(Cell(RAW, 1, 1)), ours_first=True)


def test_a_server_that_is_paused_answers_later() -> None:
    call = call_of(CLASSIFY_1, ECHO, PIXELS, ZEROS)
    with servers.serving(ECHO) as process:
        with process.paused(), pytest.raises(BenchmarkError, match="DEADLINE_EXCEEDED"):
            exchange(process.address, call.method, call.message, None, 0.5)
        assert call.require_answer(process.address) == len(call.message)


def test_the_ratio_is_that_of_the_rounds() -> None:
    """Not of the medians: the machine's moods meet both of a round."""
    pairs = Pairs(Cell(UINT8, 1, 16), [rate(1000), rate(10), rate(500)], [rate(500), rate(2), rate(100)])
    triton = Duel(CATALOGUE[TRITON], loads=[pairs])
    left_out = Duel(CATALOGUE[MOSEC], why_not="no network")
    assert pairs.ratio == 5
    (line,) = acceptance(PeersResult(duels=[triton, left_out]))
    assert (line.what, line.value, line.met) == (
        "ModelInfer UINT8 over Triton (Python backend), 16 connections",
        5,
        True,
    )
    row = triton.as_json()
    assert (row["name"], row["version"], row["why_not"], row["loads"][0]["ratio"]) == ("triton", "0.7.0", None, 5)
    table = duels_table([triton, left_out]).splitlines()
    assert table[1].split()[-3:] == ["5.0", "10", "10"]
    assert table[2:] == ["mosec is left out: no network"]


@needs_h2load
def test_a_peer_that_cannot_be_installed_is_a_row(digits: Digits, tmp_path: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0"}
    places = {"PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    options = ("--data", "embedded", "--servers", "mosec", "--cache", tmp_path / "cache", "--out", tmp_path / "x.json")
    completed = digits("bench", "peers", *options, env=nowhere | places)
    assert completed.returncode == 0, completed.stderr
    assert "mosec is left out: mosec==0.9.8 cannot be installed: ERROR: No matching distribution" in completed.stdout
    result = json.loads((tmp_path / "x.json").read_text())
    (row,) = result["peers"]
    assert row["why_not"].startswith("mosec==0.9.8 cannot be installed: ")
    assert not row["loads"]
    assert str(tmp_path) not in json.dumps(result)


@needs_h2load
@pytest.mark.slow
def test_a_peer_is_installed_and_measured(digits: Digits, tmp_path: Path) -> None:
    options = ("--data", "embedded", "--servers", "mosec", "--rounds", 2, "--seconds", 0.2)
    places = ("--cache", tmp_path / "cache", "--out", tmp_path / "peers.json")
    completed = digits("bench", "peers", *options, *places)
    assert completed.returncode == 0, completed.stderr
    (row,) = json.loads((tmp_path / "peers.json").read_text())["peers"]
    assert row["why_not"] is None, row["why_not"]
    assert len(row["loads"]) == 4
    assert all(load["ratio"] > 0 and load["why_not"] is None for load in row["loads"])
    again = digits("bench", "peers", *options, *places)
    assert "installing" not in again.stdout
    broken = replace(CATALOGUE[MOSEC], command=(sys.executable, "-c", "raise SystemExit('no such flag')"))
    call, file = call_of(Cell(RAW, 1, 1), MOSEC, PIXELS, ZEROS), open_repository(None).open().file("fp32")
    with (
        pytest.raises(BenchmarkError, match="ended with 1: no such flag"),
        serving(broken, tmp_path / "cache", file, call),
    ):
        pass
