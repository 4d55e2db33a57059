"""The golden set: 256 test images that travel with a version, with the answers that they must get."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.model.errors import RepositoryError, SelfTestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Probabilities = NDArray[np.float32]
    Run = Callable[[Pixels], Probabilities]

SIZE = 256
BATCH_SIZES = (1, 7, 64)  # against the same images in one batch of 513
WHOLE = 513
KERAS_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Golden:
    """Images and what is to come out of them.

    Attributes:
        pixels: uint8 [n, 28, 28].
        keras: Keras's probabilities, float32 [n, 10].
        answers: Each variant's own probabilities on the exporting host, float32 [n, 10].
    """

    pixels: Pixels
    keras: Probabilities
    answers: dict[str, Probabilities]

    def write(self, path: Path) -> None:
        arrays: dict[str, Any] = {"pixels": self.pixels, "keras": self.keras, **self.answers}
        np.savez_compressed(path, **arrays)

    @classmethod
    def read(cls, path: Path) -> Golden:
        """Raises RepositoryError if the file is not a golden set."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
                arrays = dict(npz)
            return cls(arrays.pop("pixels"), arrays.pop("keras"), arrays)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise RepositoryError(f"{path}: not a golden set ({error})") from error


def choose(probabilities: Probabilities, seed: int = 0) -> NDArray[np.intp]:
    """The test images that make the golden set.

    Half of them are those of smallest margin between the two best digits, where a fault of arithmetic
    shows first; the other half is a seeded choice of the rest.

    Args:
        probabilities: Keras's answer to the whole test set, float32 [n, 10].
        seed: Of the second half's choice.

    Returns:
        Their indices, ascending, intp [min(n, 256)].
    """
    ranked = np.sort(probabilities, axis=1)
    by_margin = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")
    half = SIZE // 2
    rest = by_margin[half:]
    chosen = np.random.default_rng(seed).choice(rest, min(half, len(rest)), replace=False)
    return np.sort(np.concatenate([by_margin[:half], chosen]))


def check_answers(run: Run, golden: Golden, *, what: str) -> None:
    """Raises SelfTestError unless fp32 answers as Keras did: within 1e-4, and with the same digits."""
    answers = run(golden.pixels)
    difference = np.abs(answers - golden.keras).max(axis=1)
    worst = int(difference.argmax())
    if not difference[worst] <= KERAS_TOLERANCE:  # a NaN is a failure too
        raise SelfTestError(
            f"{what}: on this host golden image {worst} is off Keras's answer by {difference[worst]:.2g}; "
            f"{KERAS_TOLERANCE:.0e} is allowed"
        )
    flipped = np.flatnonzero(answers.argmax(axis=1) != golden.keras.argmax(axis=1))
    if len(flipped):
        raise SelfTestError(f"{what}: on this host golden image {flipped[0]} gets another digit than Keras's")


def check_batch_invariance(run: Run, pixels: Pixels, *, what: str) -> None:
    """Raises SelfTestError unless an image's answer is the same, bit for bit, whatever its batch."""
    tiled = np.resize(pixels, (WHOLE, *pixels.shape[1:]))
    whole = run(tiled)
    for size in BATCH_SIZES:
        parts = np.concatenate([run(tiled[start : start + size]) for start in range(0, len(tiled), size)])
        if parts.tobytes() != whole.tobytes():
            raise SelfTestError(
                f"{what}: on this host answers in batches of {size} differ from those in one of {WHOLE}"
            )
