"""The evidence of a variant: what the acceptance checks measured, how long it takes, and the table of both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from digits.model.manifest import Evidence
from digits.model.timing import seconds_per_run
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.model.acceptance import Measured

TIMED = (1, 64, 1024)  # images in a batch
ROUNDS = 5
LEAST = 2e-3  # seconds of a measurement
HEAD = ("variant", "max |dp|", "mean |dp|", "argmax", "accuracy", "batch-invariant", "size")


def evidence(file: Path, made: str, measured: Measured, seconds: dict[str, float]) -> Evidence:
    """What the manifest says of a variant. The accuracy is NaN where the labels are not known."""
    return Evidence(
        file=file.name,
        made=made,
        size_bytes=file.stat().st_size,
        accuracy=math.nan if measured.accuracy is None else measured.accuracy,
        max_abs_diff=measured.parity.max_abs_diff,
        mean_abs_diff=measured.parity.mean_abs_diff,
        argmax_agreement=measured.parity.argmax_agreement,
        batch_invariant=measured.batch_dependence is None,
        seconds_per_image=seconds,
    )


def seconds_per_image(
    runs: Mapping[str, Callable[[NDArray[np.uint8]], object]], pixels: NDArray[np.uint8]
) -> dict[str, dict[str, float]]:
    """Of everything that runs images uint8 [n, 28, 28], by batch size: medians of measurements in turn."""
    seconds: dict[str, dict[str, float]] = {name: {} for name in runs}
    for size in TIMED:
        for name, times in seconds_per_run(runs, pixels, size, rounds=ROUNDS, least=LEAST).items():
            seconds[name][str(size)] = float(np.median(times)) / size
    return seconds


def acceptance_table(
    reference: str,
    variants: Mapping[str, Evidence],
    baselines: Mapping[str, Mapping[str, float]],
    count: int,
    images: str = "test images",
) -> str:
    """A line for each variant and for each other way to run the same model.

    Args:
        reference: What the variants were held against.
        variants: Their evidence.
        baselines: Seconds an image of the other ways.
        count: How many images they were measured on.
        images: Which.
    """
    rows = [[name, *_cells(found, count), *_times(found.seconds_per_image)] for name, found in variants.items()]
    rows += [[name, *[""] * (len(HEAD) - 1), *_times(times)] for name, times in baselines.items()]
    sizes = [f"us at {size}" for size in TIMED]
    title = f"acceptance checks: {count:,} {images} against {reference}; microseconds an image in batches of"
    return f"{title} {', '.join(map(str, TIMED))}, one thread\n{Table([*HEAD, *sizes], rows, 1).text()}"


def _cells(found: Evidence, images: int) -> list[str]:
    same = round(found.argmax_agreement * images)
    return [
        f"{found.max_abs_diff:.1e}",
        f"{found.mean_abs_diff:.1e}",
        f"{same:,} of {images:,}",
        "" if math.isnan(found.accuracy) else f"{found.accuracy:.2%}",
        "yes" if found.batch_invariant else "no",
        f"{found.size_bytes / 1e6:.2f} MB",
    ]


def _times(seconds: Mapping[str, float]) -> list[str]:
    return [f"{seconds[str(size)] * 1e6:.1f}" for size in TIMED]
