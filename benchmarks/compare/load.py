"""The loads under which two builds are compared, and one measurement of a build under one of them."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import numpy as np

from digits.benchmarks.calls import call_of
from digits.benchmarks.cells import CLASSIFY, Cell
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.generator import closed_loop
from digits.benchmarks.h2load import drive, installed, require_h2load
from digits.benchmarks.server.loads import request
from digits.model.golden import Golden
from digits.model.repository import open_repository

if TYPE_CHECKING:
    from digits.benchmarks.calls import Call
    from digits.benchmarks.process import ServerProcess

A, B = "A", "B"
RATE, CPU = "calls_per_second", "cpu_us"
CELLS = (Cell(CLASSIFY, 1, 16, (A, B)), Cell(CLASSIFY, 64, 4, (A, B)))
LONGER = 10  # times, if nothing was answered


def calls() -> list[Call]:
    """Of each build, under each load: the images whose digits no model doubts, by the margins in the golden set."""
    golden = Golden.read(open_repository(None).open().golden)
    second, first = np.sort(golden.reference, axis=1)[:, -2:].T
    clearest = np.argsort(second - first)
    pixels, digits = golden.pixels[clearest], golden.reference[clearest].argmax(axis=1)
    return [call_of(cell, name, pixels, digits) for cell in CELLS for name in cell.servers]


def sample(call: Call, process: ServerProcess, seconds: float) -> dict[str, float]:
    """Loads a build's server for so many seconds: its rate, and the microseconds of its processor time for each call.

    Raises:
        BenchmarkError: it ends, or answers wrongly.
    """
    _require_running(call, process, patience=0)
    before = process.cpu_seconds()
    try:
        rate, answered = _load(process.address, call, call.cell.connections, seconds)
    except BenchmarkError:
        _require_running(call, process, patience=1)  # its connections are gone before it is
        raise
    return {RATE: round(rate, 1), CPU: round((process.cpu_seconds() - before) / answered * 1e6, 3)}


def generator() -> str:
    """What makes the load."""
    return require_h2load() if installed() else "asyncio"


def _load(address: str, call: Call, connections: int, seconds: float) -> tuple[float, int]:
    """Calls a second, and how many were answered: by h2load where it is installed, or else by our own generator.

    Ours is slower than the server, whose rate it does not show then; processor time for each call still tells.
    """
    reply_bytes = call.require_answer(address)
    if installed():
        load = drive(address, call.method, call.message, connections=connections, seconds=seconds)
        if not load.answered:  # the machine was elsewhere for so long
            load = drive(address, call.method, call.message, connections=connections, seconds=LONGER * seconds)
        if load.failed:
            raise BenchmarkError(f"{call.server}, {call.cell.name}: {load.failed} calls failed")
        call.require_answers(load, reply_bytes)
        return load.calls_per_second, load.answered
    traffic = closed_loop(address, [request(call)], connections=connections, seconds=seconds)
    if traffic.failed or not traffic.done:
        raise BenchmarkError(f"{call.server}, {call.cell.name}: {sum(traffic.failed.values())} calls failed")
    return traffic.calls_per_second, len(traffic.done)


def _require_running(call: Call, process: ServerProcess, patience: float) -> None:
    """Raises BenchmarkError if the server has ended, or does within so many seconds."""
    ended = os.pidfd_open(process.pid)
    try:
        if select.select([ended], [], [], patience)[0]:
            raise BenchmarkError(f"{call.server}: its server has ended in the middle, under {call.cell.name}")
    finally:
        os.close(ended)
