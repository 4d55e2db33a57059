"""The engine: one variant of one model version in one ONNX Runtime session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from digits.images.digit import CLASSES, SIDE
from digits.model.answer import Answer
from digits.model.errors import ModelError, SelfTestError
from digits.model.golden import Golden, batch_dependence, deviation
from digits.model.manifest import FP32
from digits.model.runtime import CPU, Provider, bare_run, open_session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from digits.model.manifest import Manifest
    from digits.model.repository import ModelVersion

log = logging.getLogger(__name__)

INPUT = "pixels"
OUTPUT = "probabilities"
NOVELTY = "novelty"


class Engine:
    """Runs an ONNX file with digits' signature: pixels uint8 [n, 28, 28] to probabilities float32 [n, 10].

    A second output, novelty float32 [n], is optional.

    Attributes:
        provider: The execution provider in use, such as `CPUExecutionProvider`.
        metadata: The file's `metadata_props`.
        has_novelty: Whether it has the second output.
    """

    def __init__(self, path: Path | bytes, *, provider: Provider = "auto", threads: int = 1) -> None:
        """Opens an ONNX file, or its content. Raises ModelError; ProviderError if the provider cannot run."""
        session = open_session(path, provider, threads)
        self.provider: str = session.get_providers()[0]
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self._run = bare_run(session)
        self.has_novelty = len(session.get_outputs()) > 1
        self._outputs = [OUTPUT, NOVELTY] if self.has_novelty else [OUTPUT]
        answers = [(OUTPUT, "tensor(float)", [CLASSES]), (NOVELTY, "tensor(float)", [])]
        for kind, wanted, nodes in (
            ("input", [(INPUT, "tensor(uint8)", [SIDE, SIDE])], session.get_inputs()),
            ("output", answers[: len(self._outputs)], session.get_outputs()),
        ):
            found = [(node.name, node.type, node.shape[1:]) for node in nodes]
            if found != wanted:
                raise ModelError(
                    f"{'the model' if isinstance(path, bytes) else path}: its {kind} is {found}; expected {wanted}"
                )

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities of the digits 0 to 9, float32 [n, 10], for images uint8 [n, 28, 28].

        Releases the GIL while it computes. On the CPU the answer for an image does not depend on its batch.
        """
        (probabilities,) = self._run([OUTPUT], {INPUT: pixels}, None)
        return probabilities  # type: ignore[no-any-return] # skipped by mypy: it has no types

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """As `run`, with the novelty of each image, if the model has it."""
        found = self._run(self._outputs, {INPUT: pixels}, None)
        return Answer(found[0], found[1] if self.has_novelty else None)

    def threshold(self, manifest: Manifest) -> float | None:
        """The novelty above which an image does not show a digit; None if the model has no novelty."""
        return manifest.novelty.threshold if self.has_novelty and manifest.novelty else None


def load_engine(model: ModelVersion, *, variant: str = FP32, provider: Provider = "auto", threads: int = 1) -> Engine:
    """Opens a variant and runs its self-test: it must answer the golden set on this host as it did when published.

    Raises:
        ModelError: the version has no such variant, it cannot run, or it fails its self-test.
    """
    path = model.file(variant)
    engine = Engine(path, provider=provider, threads=threads)
    golden = Golden.read(model.golden)
    if (fault := deviation(engine.answer, golden, variant)) is not None:
        raise SelfTestError(f"{path}: {fault}")
    if (fault := batch_dependence(engine.answer, golden.pixels)) is not None:
        if engine.provider == CPU:
            raise SelfTestError(f"{path}: {fault}")
        log.warning("%s: %s", path, fault)  # allowed on a GPU
    return engine
