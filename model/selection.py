"""The choice of a variant: the fastest one that passes its self-test on this host."""

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from digits.model.engine import Engine, load_engine
from digits.model.errors import ModelError, ProviderError
from digits.model.golden import Golden
from digits.model.manifest import FP16, FP32, INT8, Precision
from digits.model.repository import ModelVersion
from digits.model.runtime import CPU, Provider
from digits.model.timing import seconds_per_run, speedup

WORTH_IT = 1.2  # times as fast as fp32; below that, fp32 is used
BATCH_SIZES = (1, 64)  # timed
ROUNDS = 7
LEAST = 2e-4  # seconds of one measurement

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen variant."""

    variant: str  # such as `int8`
    engine: Engine  # its engine, which passed the self-test
    reason: str  # why it was chosen, for people


def select(model: ModelVersion, *, precision: Precision = "auto", provider: Provider, threads: int = 1) -> Selection:
    """Opens the requested variant or, with `auto`, the fastest one that passes its self-test on this host.

    `auto` measures for a few milliseconds. int8 runs only on the CPU and fp16 only on CUDA; they are preferred to fp32
    if they are at least 1.2 times as fast.

    Raises:
        ModelError: the version has no such variant, or it cannot run here, or it fails its self-test.
    """
    if precision == "auto":
        return _fastest(model, provider, threads)
    engine = load_engine(model, variant=precision, provider=_provider_for(precision, provider), threads=threads)
    return Selection(precision, engine, "asked for")


def _provider_for(precision: str, provider: Provider) -> Provider:
    """The provider that a variant needs. Raises ProviderError if another one is required."""
    if precision == INT8:
        if provider == "cuda":
            raise ProviderError("int8 runs on the CPU only; say --provider cpu, or --precision fp16 or fp32")
        return "cpu"
    if precision == FP16:
        if provider == "cpu":
            raise ProviderError("fp16 runs on CUDA only; say --provider cuda, or --precision int8 or fp32")
        return "cuda"
    return provider


def _fastest(model: ModelVersion, provider: Provider, threads: int) -> Selection:
    fp32 = load_engine(model, variant=FP32, provider=provider, threads=threads)
    other: Literal["int8", "fp16"] = "int8" if fp32.provider == CPU else "fp16"
    if other not in model.manifest.variants:
        why = model.manifest.left_out.get(other, "not exported")
        return Selection(FP32, fp32, f"version {model.number} has no {other}: {why}")
    try:
        faster = load_engine(model, variant=other, provider=_provider_for(other, "auto"), threads=threads)
    except ModelError as error:
        log.warning("%s is not served: %s", other, error)
        return Selection(FP32, fp32, f"{other} is not served here: {error}")
    times_as_fast, times = _compare(model, faster, fp32)
    reason = f"{other} is {times_as_fast:.1f} times as fast as {FP32} here ({times})"
    if times_as_fast < WORTH_IT:
        return Selection(FP32, fp32, f"{reason}, less than {WORTH_IT} times")
    return Selection(other, faster, reason)


def _compare(model: ModelVersion, faster: Engine, fp32: Engine) -> tuple[float, str]:
    """The speedup over fp32, the geometric mean over the batch sizes, and the times as text."""
    pixels = Golden.read(model.golden).pixels
    ratios, times = [], []
    for size in BATCH_SIZES:
        seconds = seconds_per_run({"faster": faster.run, FP32: fp32.run}, pixels, size, rounds=ROUNDS, least=LEAST)
        ratios.append(speedup(seconds["faster"], seconds[FP32]))
        one, other = (float(np.median(seconds[name])) * 1e6 for name in ("faster", FP32))
        times.append(f"batch {size}: {one:.0f} against {other:.0f} us")
    return math.exp(float(np.mean(np.log(ratios)))), ", ".join(times)
