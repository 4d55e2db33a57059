"""The golden set: 256 test images in every version, with the answers that its variants must give to them."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import CLASSES, SIDE
from digits.model.answer import Answer
from digits.model.errors import RepositoryError
from digits.model.manifest import FP32
from digits.model.parity import compare

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
Run = Callable[[Pixels], Answer]  # an engine's `answer`

SIZE = 256  # images
BATCH_SIZES = (1, 7, 64)  # compared with one batch of 513
WHOLE = 513
REFERENCE_TOLERANCE = 1e-4  # of fp32's probabilities, from the reference's
OWN_TOLERANCE = 5e-3  # of another variant's, from its own on the exporting host
NOVELTY_TOLERANCES = {FP32: 1e-3}  # of the novelty, from its own on the exporting host
OTHER_NOVELTY_TOLERANCE = 0.05
NOVELTY_PREFIX = "novelty."  # of the names of these arrays


@dataclass(frozen=True, slots=True)
class Golden:
    """Images and the expected answers."""

    pixels: Pixels  # uint8 [n, 28, 28]
    reference: Probabilities  # the probabilities of what was exported, such as the Keras model's, float32 [n, 10]
    answers: dict[str, Probabilities]  # each variant's own probabilities on the exporting host, float32 [n, 10]
    novelty: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # each variant's own there, [n], if it has it

    def write(self, path: Path) -> None:
        np.savez_compressed(path, **self._arrays())  # type: ignore[arg-type] # the names are not those of its options

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises RepositoryError if the file is not a golden set."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
                arrays = dict(npz)
            prefix = NOVELTY_PREFIX
            novelty = {name.removeprefix(prefix): arrays.pop(name) for name in npz.files if name.startswith(prefix)}
            golden = cls(arrays.pop("pixels"), arrays.pop("reference"), arrays, novelty)
            golden._check()
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise RepositoryError(f"{path}: not a golden set ({error})") from error
        return golden

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names in the file."""
        novelty = {f"{NOVELTY_PREFIX}{name}": values for name, values in self.novelty.items()}
        return {"pixels": self.pixels, "reference": self.reference, **self.answers, **novelty}

    def _check(self) -> None:
        """Raises ValueError if an array has an unexpected type or shape."""
        images = len(self.pixels)
        if not images:
            raise ValueError("it has no images")
        for name, array in self._arrays().items():
            shape = (SIDE, SIDE) if name == "pixels" else () if name.startswith(NOVELTY_PREFIX) else (CLASSES,)
            if array.dtype != (np.uint8 if name == "pixels" else np.float32) or array.shape != (images, *shape):
                raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")


def choose(probabilities: Probabilities, seed: int = 0) -> NDArray[np.intp]:
    """Chooses the test images of the golden set by the reference's answers to all: their indices, ascending, [<= 256].

    Half of them have the smallest margin between the two most probable digits, where an arithmetic error shows first;
    the other half is a seeded choice of the rest.
    """
    ranked = np.sort(probabilities, axis=1)
    by_margin = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")
    half = SIZE // 2
    rest = by_margin[half:]
    chosen = np.random.default_rng(seed).choice(rest, min(half, len(rest)), replace=False)
    return np.sort(np.concatenate([by_margin[:half], chosen]))


def deviation(run: Run, golden: Golden, variant: str) -> str | None:
    """How a variant's answers to the golden set on this host deviate from the published ones; None if they do not.

    fp32 is compared with the reference, any other variant with its own answers on the exporting host: the digits must
    be the same, and the probabilities within a tolerance. int8 on a CPU without VNNI, for example, may saturate, which
    its accuracy hardly shows. The novelty is compared with the variant's own one, if the golden set has it.
    """
    if variant == FP32:
        expected, tolerance, whose = golden.reference, REFERENCE_TOLERANCE, "the reference's answer"
    elif variant in golden.answers:
        expected, tolerance, whose = golden.answers[variant], OWN_TOLERANCE, "its own answer where it was exported"
    else:
        return f"its golden set has no answers of {variant}"
    probabilities, novelty = run(golden.pixels)
    parity = compare(probabilities, expected)
    if not parity.max_abs_diff <= tolerance:
        return (
            f"on this host golden image {parity.worst} is off {whose} by {parity.max_abs_diff:.2g}; "
            f"{tolerance:.0e} is allowed"
        )
    if len(parity.flipped):
        return f"on this host golden image {parity.flipped[0]} gets another digit than in {whose}"
    return _novelty_deviation(novelty, golden, variant)


def _novelty_deviation(novelty: NDArray[np.float32] | None, golden: Golden, variant: str) -> str | None:
    """How the novelty deviates from the published one; None if it does not, or if the golden set has none."""
    if (expected := golden.novelty.get(variant)) is None:
        return None
    if novelty is None:
        return "it has no novelty, and its golden set has"
    off, tolerance = np.abs(novelty - expected), NOVELTY_TOLERANCES.get(variant, OTHER_NOVELTY_TOLERANCE)
    if not off.max() <= tolerance:
        return (
            f"on this host the novelty of golden image {off.argmax()} is off its own where it was exported by "
            f"{off.max():.2g}; {tolerance:.0e} is allowed"
        )
    return None


def batch_dependence(run: Run, pixels: Pixels) -> str | None:
    """In which batches the answers differ from those in one batch of 513; None if they are the same, bit for bit."""
    tiled = np.resize(pixels, (WHOLE, *pixels.shape[1:]))
    whole = run(tiled).columns
    for size in BATCH_SIZES:
        parts = np.concatenate([run(tiled[start : start + size]).columns for start in range(0, len(tiled), size)])
        if parts.tobytes() != whole.tobytes():
            return f"on this host answers in batches of {size} differ from those in one of {WHOLE}"
    return None
