"""The variants of exported runs, timed in turn on one thread, with Keras's `predict` and OpenVINO.

A measurement's `load` has the run's `recipe` and `layers`, and `images` in a batch; its only repeat has the median of
the rounds, `microseconds_per_image`, and the median and quartiles of their ratios to fp32, `times_as_fast`. `findings`
has for each run, in their order, what the export recorded of its `variants` and `left_out`.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np

from digits.benchmarks.measurement import measuring
from digits.benchmarks.section import Row, section
from digits.benchmarks.settings import ExportBenchmarkSettings
from digits.export.errors import ExportError
from digits.export.evidence import TIMED
from digits.export.publishing import other_ways, write_version
from digits.export.settings import ImportSettings
from digits.export.source import Source, read_source
from digits.model.engine import Engine
from digits.model.limits import Limits
from digits.model.manifest import FP16, FP32, INT8, Manifest
from digits.model.repository import MANIFEST
from digits.model.timing import seconds_per_run, speedup

LEAST = 2e-2  # seconds of a measurement


def run(folders: Sequence[Path], settings: ExportBenchmarkSettings) -> None:
    """Exports each run into a temporary folder, and times everything that can run it.

    Raises ExportError if a folder is not a run.
    """
    if settings.quick:
        settings = replace(settings, rounds=2)
    sources = [read_source(folder, settings.data, ImportSettings()) for folder in folders]
    for folder, source in zip(folders, sources, strict=True):
        if not source.training:
            raise ExportError(f"{folder}: is not a run folder, and only runs are measured")
    warm_up = "a run of each batch"
    with measuring("export", settings, sources[0].data, warm_up=warm_up, repeats=settings.rounds) as result:
        models = result.findings["models"] = []
        for folder, source in zip(folders, sources, strict=True):
            print(f"{folder}:", flush=True)
            result.rows.extend(_measured(source, settings.rounds, models))
    result.show(section)


def _measured(source: Source, rounds: int, models: list[dict[str, Any]]) -> list[Row]:
    """The measurements of a run; what its export recorded is appended to `models`."""
    with tempfile.TemporaryDirectory() as name:
        staged, rows = Path(name), list[Row]()
        write_version(staged, source, (INT8, FP16), Limits())
        manifest = Manifest.read(staged / MANIFEST)
        what = {key: manifest.training["settings"][key] for key in ("recipe", "layers")}
        variants = {variant: asdict(found) for variant, found in manifest.variants.items()}
        models.append({**what, "variants": variants, "left_out": manifest.left_out})
        runs = {name: Engine(staged / variant.file, provider="cpu").run for name, variant in manifest.variants.items()}
        every = runs | other_ways(source, staged / manifest.variants[FP32].file)
        for size in TIMED:
            load = {"recipe": what["recipe"], "layers": "-".join(map(str, what["layers"])), "images": size}
            found = seconds_per_run(every, source.data.x_test, size, rounds=rounds, least=LEAST)
            for system, seconds in found.items():
                lower, _, upper = quantiles(found[FP32] / seconds, n=4)
                numbers = {"times_as_fast": speedup(seconds, found[FP32])}
                numbers |= {"lower_quartile": lower, "upper_quartile": upper}
                numbers |= {"microseconds_per_image": float(np.median(seconds)) / size * 1e6}
                repeat = {measure: round(value, 3) for measure, value in numbers.items()}
                rows.append({"system": system, "load": load, "repeats": [repeat]})
        return rows
