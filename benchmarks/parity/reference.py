"""Keras, whose answers all variants are held against, and the proof that it is what was exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.keras_twin import TOLERANCE, keras_twin
from digits.images.digit import flatten
from digits.model.golden import Golden
from digits.model.parity import compare
from digits.storage.checksums import file_sha256
from digits.train.run_folder import MODEL

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from digits.model.repository import ModelVersion


@dataclass(frozen=True, slots=True)
class Reference:
    """A Keras model.

    Attributes:
        origin: Where it comes from, for people.
        off: By how much its probabilities differ at most, on the golden set, from those recorded at the export.
    """

    model: Any
    origin: str
    off: float

    def answer(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities float32 [n, 10] of images uint8 [n, 28, 28]."""
        return _answer(self.model, pixels)


def reference(version: ModelVersion, run: Path | None) -> Reference:
    """The Keras model that a version was exported from: the run's own, or else one with the weights of its fp32.

    Raises:
        BenchmarkError: the version comes from no Keras run, the run is another one's, or the model does not answer the
            golden set as was recorded.
    """
    if run is None:
        twin, off = keras_twin(version)
        return Reference(twin, "made again from the weights of fp32", off)
    model = _of_run(version, run)
    golden = Golden.read(version.golden)
    off = compare(_answer(model, golden.pixels), golden.reference).max_abs_diff
    if not off <= TOLERANCE:
        raise BenchmarkError(
            f"{run}: Keras is off the answers recorded at the export by {off:.2g}, and "
            f"{TOLERANCE:.0e} is allowed; say `digits verify` to see whether the version is whole"
        )
    return Reference(model, f"{MODEL} of the run", off)


def _of_run(version: ModelVersion, run: Path) -> Any:
    from digits.export.keras_model import load_keras

    try:
        sha256 = file_sha256(run / MODEL)
    except OSError as error:
        raise BenchmarkError(f"{run / MODEL}: cannot be read ({error.strerror}); give a run folder") from error
    if sha256 != version.manifest.reference_sha256:
        raise BenchmarkError(f"{run}: version {version.number} was not exported from it; give its run, or none")
    return load_keras(run / MODEL)


def _answer(model: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return model.predict(flatten(pixels), batch_size=1024, verbose=0)  # type: ignore[no-any-return] # untyped
