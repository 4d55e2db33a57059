"""The evidence: what the acceptance checks measure of each variant, how long it takes, and the table of both."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digits.model.acceptance import Measured, measure
from digits.model.engine import Engine
from digits.model.golden import Pixels, Probabilities
from digits.model.manifest import Evidence
from digits.model.timing import seconds_per_run
from digits.report.table import Table

Times = dict[str, dict[str, float]]  # seconds an image by name and batch size

TIMED = (1, 64, 1024)  # images in a batch
ROUNDS = 5
LEAST = 2e-3  # seconds of one measurement
HEAD = ("variant", "max |dp|", "mean |dp|", "argmax", "accuracy", "batch-invariant", "size")


def measure_all(
    engines: Mapping[str, Engine],
    pixels: Pixels,
    labels: NDArray[np.uint8] | None,
    reference: Probabilities,
    others: Mapping[str, Callable[[Pixels], object]],
) -> tuple[dict[str, Measured], Times]:
    """Measures the answers of engines by variant, as `measure` does, and their times and those of other ways to run."""
    measured = {name: measure(engine.answer, pixels, labels, reference) for name, engine in engines.items()}
    runs = {name: engine.run for name, engine in engines.items()} | dict(others)
    times: Times = {name: {} for name in runs}
    for size in TIMED:
        for name, seconds in seconds_per_run(runs, pixels, size, rounds=ROUNDS, least=LEAST).items():
            times[name][str(size)] = float(np.median(seconds)) / size
    return measured, times


def openvino_run(path: Path) -> Callable[[Pixels], object] | None:
    """Runs an ONNX file on one thread of the CPU in OpenVINO's fastest way, to compare times with.

    None if OpenVINO is not installed or cannot run it.
    """
    try:
        import openvino
    except ImportError:
        return None
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    except RuntimeError:  # an operator that it does not support
        return None
    return lambda pixels: request.infer([pixels], share_inputs=True, share_outputs=True)[0]


def evidence(file: Path, made: str, measured: Measured, seconds: dict[str, float]) -> Evidence:
    """The manifest's record of a variant. The accuracy is NaN if the labels are not known."""
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


def acceptance_table(
    reference: str,
    variants: Mapping[str, Evidence],
    baselines: Mapping[str, Mapping[str, float]],
    count: int,
    images: str = "test images",
) -> str:
    """A line for each variant and for each other way to run the same model, of which `baselines` has seconds an image.

    `reference` names what the variants were compared with, on so many images of this kind.
    """
    rows = [[name, *_columns(found, count), *_times(found.seconds_per_image)] for name, found in variants.items()]
    rows += [[name, *[""] * (len(HEAD) - 1), *_times(times)] for name, times in baselines.items()]
    sizes = [f"us at {size}" for size in TIMED]
    title = f"acceptance checks: {count:,} {images} against {reference}; microseconds an image in batches of"
    return f"{title} {', '.join(map(str, TIMED))}, one thread\n{Table([*HEAD, *sizes], rows, 1).text()}"


def _columns(found: Evidence, images: int) -> list[str]:
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
