"""The variants of exported models beside each other, Keras's `predict`, and OpenVINO where it is installed."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.benchmarks.measurement import measurement
from digits.export.errors import ExportError
from digits.export.evidence import TIMED
from digits.export.publishing import other_ways, write_version
from digits.export.settings import ImportSettings
from digits.export.source import read_source
from digits.model.engine import Engine
from digits.model.limits import Limits
from digits.model.manifest import FP16, FP32, INT8, Manifest
from digits.model.repository import MANIFEST
from digits.model.timing import seconds_per_run, speedup
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digits.benchmarks.settings import ExportBenchmarkSettings
    from digits.export.source import Source

LEAST = 2e-2  # seconds of a measurement


def run(folders: Sequence[Path], settings: ExportBenchmarkSettings) -> dict[str, Any]:
    """Exports each run into a folder that vanishes, and times everything that can run it, in turn, on one thread."""
    models = []
    sources = [read_source(folder, settings.data, ImportSettings()) for folder in folders]
    for folder, source in zip(folders, sources, strict=True):
        if not source.training:
            raise ExportError(f"{folder}: is no run folder, and only those are measured")
        print(f"{folder}:")
        with tempfile.TemporaryDirectory() as staged:
            write_version(Path(staged), source, (INT8, FP16), Limits())
            manifest = Manifest.read(Path(staged) / MANIFEST)
            times = _times(Path(staged), source, manifest, settings.rounds)
        models.append(
            {
                "recipe": manifest.training["settings"]["recipe"],
                "layers": manifest.training["settings"]["layers"],
                "variants": {name: asdict(variant) for name, variant in manifest.variants.items()},
                "left_out": manifest.left_out,
                "times": times,
            }
        )
        print(_table(times), flush=True)
    return {
        **measurement("export", settings, sources[0].data, warm_up="a run of each batch", repeats=settings.rounds),
        "models": models,
    }


def _times(staged: Path, source: Source, manifest: Manifest, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """By name and batch size: microseconds an image, and how many times as fast as fp32, with the rounds' quartiles."""
    runs = {name: Engine(staged / variant.file, provider="cpu").run for name, variant in manifest.variants.items()}
    every = runs | other_ways(source, staged / manifest.variants[FP32].file)
    times: dict[str, dict[str, dict[str, float]]] = {name: {} for name in every}
    for size in TIMED:
        seconds = seconds_per_run(every, source.data.x_test, size, rounds=rounds, least=LEAST)
        for name, measured in seconds.items():
            lower, _, upper = quantiles(seconds[FP32] / measured, n=4)
            times[name][str(size)] = {
                "microseconds_per_image": round(float(np.median(measured)) / size * 1e6, 3),
                "times_as_fast": round(speedup(measured, seconds[FP32]), 3),
                "lower_quartile": round(lower, 3),
                "upper_quartile": round(upper, 3),
            }
    return times


def _table(times: dict[str, dict[str, dict[str, float]]]) -> str:
    head = ["", *(f"us an image at {size}" for size in TIMED), *(f"times fp32 at {size}" for size in TIMED)]
    rows = [
        [
            name,
            *(f"{by_size[str(size)]['microseconds_per_image']:,.1f}" for size in TIMED),
            *(f"{by_size[str(size)]['times_as_fast']:.3g}" for size in TIMED),
        ]
        for name, by_size in times.items()
    ]
    return Table(head, rows, 1).text()
