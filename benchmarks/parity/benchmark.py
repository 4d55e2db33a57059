"""Keras compared with every variant of a version, image by image: in this process, and through the server.

schema.json explains the keys of a measurement. `findings` has the origin of Keras and its largest difference from the
record of the export (`reference`), the version's own `limits`, and a line for each disagreement (`failed`).

The whole test set must meet the version's limits. A sample of it (`--quick`), or another test set, fails only if the
one-sided exact binomial test, at the level of 0.001, rejects that the whole meets its limit. A limit of 0 stays 0.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.keras_model import keras_model
from digits.benchmarks.measurement import measuring
from digits.benchmarks.parity.report import flipped, parity_section, row_text
from digits.benchmarks.parity.server import CALLS, differing
from digits.benchmarks.parity.variant import SEED, Asked, Variant, compared, image_sets, variant_of
from digits.benchmarks.section import Row, write_figure
from digits.benchmarks.servers import TRANSPORTS, serving
from digits.benchmarks.settings import ParityBenchmarkSettings
from digits.images import mnist
from digits.model.acceptance import Measured
from digits.model.manifest import FP32
from digits.model.repository import open_repository

Answers = dict[str, list[Measured]]  # by variant, of each kind of images


def run(folder: Path | None, settings: ParityBenchmarkSettings) -> None:
    """Compares, writes the JSON and the figures, and prints a table.

    Args:
        folder: The run that the version was exported from, if Keras is to be its model.keras.
        settings: The settings.

    Raises:
        BenchmarkError: there is no Keras to compare with, or, once all is written, something disagrees.
    """
    version, data = open_repository(settings.models).open(), mnist.load(settings.data)
    keras = keras_model(version, folder)
    print(f"version {version.number} on {data.name}")
    if data.test_sha256 != version.manifest.test_sha256:
        print(f"note: not the test set it was published with, which was {version.manifest.test_source}")
    print(f"Keras: {keras.origin}, differs from the answers recorded at the export by {keras.off:.1e}", flush=True)
    sets = image_sets(data, version.manifest.test_sha256, quick=settings.quick)
    asked = [Asked(images, keras.answer(images.pixels)) for images in sets]
    variants = [variant_of(version, name) for name in version.manifest.variants]
    answers, failed = Answers(), list[str]()
    with (
        measuring("parity", settings, data, seed=SEED) as result,
        closing(_all(variants, asked, settings, answers)) as found,
    ):
        origin = {"origin": keras.origin, "off": keras.off}
        result.findings.update({"reference": origin, "limits": version.manifest.limits, "failed": failed})
        for row in found:
            result.rows.append(row)
            print(row_text(row), flush=True)
            if row["disagrees"] and not row["excused"]:
                failed.append(row_text(row))
    write_figure(result.out, "flipped", flipped(asked[0], {name: every[0] for name, every in answers.items()}))
    result.show(parity_section)
    if failed:
        more = f" (and {len(failed) - 1} more, see {result.out})" if len(failed) > 1 else ""
        raise BenchmarkError(f"{failed[0]}{more}")
    print("everything that is served here agrees")


def _all(
    variants: Sequence[Variant], asked: Sequence[Asked], settings: ParityBenchmarkSettings, answers: Answers
) -> Generator[Row, None, None]:
    """The measurements, one by one; the answers of the variants in this process are put into `answers`."""
    for variant in variants:
        answers[variant.name] = []
        for each in asked:
            measured, one = compared(variant, each)
            answers[variant.name].append(measured)
            yield one
    pixels = np.concatenate([each.images.pixels for each in asked])
    for variant in variants:
        if variant.rejected:
            refused = {"disagrees": variant.rejected if variant.name == FP32 else None, "excused": variant.excused}
            row = {"system": variant.name, "load": {"where": "server"}, "repeats": [], "not_served": variant.rejected}
            yield row | refused
    served = [(variant, transport) for variant in variants if not variant.rejected for transport in TRANSPORTS]
    for variant, transport in served[: 1 if settings.quick else None]:
        probabilities = np.concatenate([measured.answers for measured in answers[variant.name]])
        with serving(TRANSPORTS[transport], variant.name, settings.models) as server:
            for call in CALLS:
                differ = differing(server.address, call, pixels, probabilities)
                yield {
                    "system": variant.name,
                    "load": {"where": "server", "transport": transport, "call": call, "count": len(pixels)},
                    "repeats": [{"differing_images": differ}],
                    "disagrees": f"{differ:,} images get other bytes than in process" if differ else None,
                    "excused": False,
                }
