"""A variant in this process compared with Keras: its answers, their differences, and whether these are acceptable."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from digits.images.digit import SIDE
from digits.images.mnist import Mnist
from digits.model.acceptance import Measured, failure, measure
from digits.model.engine import Engine
from digits.model.errors import ModelError, SelfTestError
from digits.model.golden import REFERENCE_TOLERANCE
from digits.model.limits import Limits
from digits.model.manifest import FP32
from digits.model.repository import ModelVersion
from digits.model.selection import select

Probabilities = NDArray[np.float32]

EDGES = np.logspace(-12, 0, 37)  # of the histogram's bins: three a decade
LISTED = 100  # flipped images that the JSON names
TEST = "test images"
QUICK = 2_000  # test images
SEED = 0
NOISE = 1_000  # images of it


class Images(NamedTuple):
    """Images of one kind."""

    name: str  # of the kind
    pixels: NDArray[np.uint8]  # [n, 28, 28]
    labels: NDArray[np.uint8] | None = None  # the digits [n]; None for images that show no digit
    sample: bool = False  # whether they are not the whole test set that the version was published with


def image_sets(data: Mnist, published: str, *, quick: bool) -> list[Images]:
    """The test images, with `quick` the first 2,000 of them, and the extremes; the same each time.

    `published` is the SHA-256 of the test set that the version was published with.
    """
    most = QUICK if quick else len(data.x_test)
    sample = most < len(data.x_test) or data.test_sha256 != published
    return [Images(TEST, data.x_test[:most], data.y_test[:most], sample), *extremes()]


def extremes() -> list[Images]:
    """No ink, ink everywhere, uniform noise, and one pixel of full ink at each place."""
    noise = np.random.default_rng(SEED).integers(0, 256, (NOISE, SIDE, SIDE), np.uint8)
    one_pixel = 255 * np.eye(SIDE * SIDE, dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return [
        Images("all 0", np.zeros((1, SIDE, SIDE), np.uint8)),
        Images("all 255", np.full((1, SIDE, SIDE), 255, np.uint8)),
        Images("noise", noise),
        Images("one pixel", one_pixel),
    ]


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of a version, on this host's CPU."""

    name: str  # such as `int8`
    engine: Engine
    limits: Limits
    rejected: str | None  # why a server on this host's CPU does not serve it; None if it does
    # Whether that is because its answers here are not the published ones: then a difference is not a failure. fp32 is
    # not excused, since nothing is served without it.
    excused: bool


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Images and Keras's answer to them, float32 [n, 10]."""

    images: Images
    keras: NDArray[np.float32]


def variant_of(version: ModelVersion, name: str) -> Variant:
    """Raises ModelError if it cannot be run."""
    path, rejected, excused = version.file(name), None, False
    try:
        select(version, precision=name, provider="cpu")  # type: ignore[arg-type] # a manifest's names are precisions
    except ModelError as error:
        rejected = str(error).removeprefix(f"{path}: ")
        excused = isinstance(error, SelfTestError) and name != FP32
    return Variant(name, Engine(path, provider="cpu"), Limits(**version.manifest.limits), rejected, excused)


def disagreement(variant: Variant, asked: Asked, measured: Measured) -> str | None:
    """Why a variant's answers are not acceptable; None if they are.

    The test images must meet the limits that it was published with; a sample is judged as a sample. Extremes have no
    limits; but fp32 is the same arithmetic as Keras's for every image, and must be as near as in its self-test. No
    answer may depend on its batch.
    """
    if asked.images.labels is not None:
        return failure(variant.name, measured, variant.limits, sample=asked.images.sample)
    off = measured.parity.max_abs_diff
    if variant.name == FP32 and not off <= REFERENCE_TOLERANCE:
        return f"max |dp| {off:.2g} is above {REFERENCE_TOLERANCE:.0e}; image {measured.parity.worst} is worst"
    return measured.batch_dependence


def compared(variant: Variant, asked: Asked) -> tuple[Measured, dict[str, Any]]:
    """Its answers, and the measurement of the JSON, whose keys schema.json explains."""
    images, keras = asked.images, asked.keras
    measured = measure(variant.engine.answer, images.pixels, images.labels, keras)
    parity, count = measured.parity, len(images.pixels)
    same = count - len(parity.flipped)
    largest, mean = (min(off, 1.0) for off in (parity.max_abs_diff, parity.mean_abs_diff))  # a NaN differs infinitely
    numbers = {"max_abs_diff": largest, "mean_abs_diff": mean, "same_digit": same}
    more: dict[str, Any] = {"agreement_95": agreement_interval(same, count)}
    if images.labels is not None:
        numbers |= {"correct": measured.correct or 0, "keras_correct": measured.reference_correct or 0}
        more["mcnemar"] = mcnemar(measured.answers, keras, images.labels)
    labels = [None] * count if images.labels is None else images.labels.tolist()
    theirs, ours = (each.argmax(axis=1).tolist() for each in (keras, measured.answers))
    return measured, {
        "system": variant.name,
        "load": {"where": "in process", "images": images.name, "count": count},
        "repeats": [numbers],
        **more,
        "histogram": histogram(measured.answers, keras),
        "flipped": [
            {"image": index, "label": labels[index], "keras": theirs[index], "variant": ours[index]}
            for index in parity.flipped[:LISTED].tolist()
        ],
        "batch_invariant": measured.batch_dependence is None,
        "disagrees": disagreement(variant, asked, measured),
        "excused": variant.excused,
    }


def agreement_interval(same: int, images: int) -> list[float]:
    """The exact 95 % interval of a share: C. J. Clopper, E. S. Pearson, Biometrika 26, 1934."""
    interval = stats.binomtest(same, images).proportion_ci(0.95, method="exact")
    return [float(interval.low), float(interval.high)]


def mcnemar(answers: Probabilities, reference: Probabilities, labels: NDArray[np.uint8]) -> dict[str, float]:
    """Whether one of two models, by their probabilities [n, 10], is right significantly more often.

    McNemar's exact test: `gained` images only the answers get right, `lost` images only the reference. By chance each
    gets half of them; `p` is the probability of a split at least as unequal.
    """
    right, was = answers.argmax(axis=1) == labels, reference.argmax(axis=1) == labels
    gained, lost = int((right & ~was).sum()), int((was & ~right).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p": p}


def histogram(answers: Probabilities, reference: Probabilities) -> dict[str, Any]:
    """|difference of a probability| over all images and digits; a NaN counts as 1.

    `counts` are those between the `edges`; `below` differ by less than the first edge, `equal` do not differ.
    """
    difference = np.nan_to_num(np.abs(answers.astype(np.float64) - reference), nan=1.0)
    return {
        "edges": [float(f"{edge:.4g}") for edge in EDGES],
        "counts": np.histogram(difference, EDGES)[0].tolist(),
        "below": int(((difference > 0) & (difference < EDGES[0])).sum()),
        "equal": int((difference == 0).sum()),
    }
