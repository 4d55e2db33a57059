"""The measured peaks of this machine that bound a network: float32 matrix multiplication, memory and cache reads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # it has no types

from digits.benchmarks.engine.roofline import CACHE, MEMORY, MULTIPLY
from digits.model.manifest import FP32
from digits.model.repository import ModelVersion

SIDE = 512  # of the matrices: three of them are 3 MB
LARGE = 2**28  # bytes, more than fit in a cache
BLAS = ThreadpoolController().select(user_api="blas")


class Peak(NamedTuple):
    """Work that the machine does as fast as it can: a run has this amount of its unit, `flop` or `bytes`."""

    run: Callable[[object], object]  # takes anything
    work: str
    unit: str
    amount: int


def open_peaks(threads: int, version: ModelVersion) -> dict[str, Peak]:
    """With so many threads. The cache is read over as many bytes as the version's fp32 file has."""
    size = version.file(FP32).stat().st_size
    memory, cache = f"reading {LARGE / 1e6:.0f} MB", f"reading {size / 1e6:.1f} MB repeatedly"
    reads = {MEMORY: _reading(threads, LARGE, memory), CACHE: _reading(threads, size, cache)}
    return {MULTIPLY: _multiplying(threads), **reads}


def _multiplying(threads: int) -> Peak:
    rng = np.random.default_rng(0)
    three = [[rng.random((SIDE, SIDE), np.float32) for _ in range(3)] for _ in range(threads)]
    run = _parallel(threads, lambda own: np.matmul(three[own][0], three[own][1], out=three[own][2]))
    used = BLAS.info()
    names = [f"{one['internal_api']} {one['version']} ({one.get('architecture', 'any')})" for one in used]
    ours = [name for name, one in zip(names, used, strict=True) if "numpy" in one["filepath"]] or names
    work = f"float32 multiplication of {SIDE} x {SIDE} matrices, by {' with '.join(['numpy', *ours[:1]])}"
    return Peak(run, work, "flop", threads * 2 * SIDE**3)


def _reading(threads: int, size: int, work: str) -> Peak:
    numbers = size // (2 * 4 * threads)  # in each of a thread's two arrays
    pairs = [(np.ones(numbers, np.float32), np.ones(numbers, np.float32)) for _ in range(threads)]
    times = max(LARGE // size, 1)

    def read(own: int) -> None:
        for _ in range(times):
            np.dot(*pairs[own])

    amount = times * threads * 2 * 4 * numbers
    return Peak(_parallel(threads, read), f"{work}, by float32 dot products", "bytes", amount)


def _parallel(threads: int, work: Callable[[int], object]) -> Callable[[object], object]:
    """Each thread does its own work, without the GIL. The threads of a BLAS would wait for each other, spinning."""
    pool = ThreadPoolExecutor(threads)

    def run(_: object) -> None:
        with BLAS.limit(limits=1):
            list(pool.map(work, range(threads)))

    return run
