"""The peaks of this machine that bound a network: of its float32 products, and of reading from memory and cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # it has no types

from digits.model.manifest import FP32

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.model.repository import ModelVersion

PRODUCT, MEMORY, CACHE = "product", "memory", "cache"
SIDE = 512  # of the matrices: three of them are 3 MB
LARGE = 2**28  # bytes, more than a cache holds


@dataclass(frozen=True, slots=True)
class Peak:
    """Something that the machine does as fast as it can.

    Attributes:
        run: Does it once.
        words: What that is.
        unit: `flop` or `bytes`.
        amount: How many of them in a run.
    """

    run: Callable[[], object]
    words: str
    unit: str
    amount: int


def open_peaks(threads: int, version: ModelVersion) -> dict[str, Peak]:
    """On so many threads. The cache's is that of as many bytes as the version's fp32 file has."""
    blas = ThreadpoolController().select(user_api="blas")
    size = version.file(FP32).stat().st_size
    return {
        PRODUCT: _products(blas, threads),
        MEMORY: _reading(blas, threads, LARGE, f"reading {LARGE / 1e6:.0f} MB"),
        CACHE: _reading(blas, threads, size, f"reading {size / 1e6:.1f} MB again and again"),
    }


def _products(blas: ThreadpoolController, threads: int) -> Peak:
    rng = np.random.default_rng(0)
    three = [[rng.random((SIDE, SIDE), np.float32) for _ in range(3)] for _ in range(threads)]

    def multiply(own: int) -> None:
        one, other, into = three[own]
        np.matmul(one, other, out=into)

    words = f"float32 products of {SIDE} x {SIDE} x {SIDE}, by {_library(blas)}"
    return Peak(_at_once(blas, threads, multiply), words, "flop", threads * 2 * SIDE**3)


def _reading(blas: ThreadpoolController, threads: int, size: int, words: str) -> Peak:
    numbers = size // (2 * 4 * threads)  # in each of a thread's two arrays
    pairs = [(np.ones(numbers, np.float32), np.ones(numbers, np.float32)) for _ in range(threads)]
    times = max(LARGE // size, 1)

    def read(own: int) -> None:
        for _ in range(times):
            np.dot(*pairs[own])

    words = f"{words}, by float32 dot products"
    return Peak(_at_once(blas, threads, read), words, "bytes", times * threads * 2 * 4 * numbers)


def _at_once(blas: ThreadpoolController, threads: int, work: Callable[[int], None]) -> Callable[[], object]:
    """Each thread does work of its own, without the GIL. A BLAS's own threads would wait for each other, spinning."""
    pool = ThreadPoolExecutor(threads)

    def run() -> None:
        with blas.limit(limits=1):
            list(pool.map(work, range(threads)))

    return run


def _library(blas: ThreadpoolController) -> str:
    """Of numpy's products, such as `numpy with openblas 0.3.31 (Haswell)`."""
    found = [library for library in blas.info() if "numpy" in library["filepath"]] or blas.info()
    if not found:
        return "numpy"
    return f"numpy with {found[0]['internal_api']} {found[0]['version']} ({found[0].get('architecture', 'any')})"
