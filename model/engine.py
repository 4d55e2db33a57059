"""The engine: one variant of one model version in one ONNX Runtime session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from digits.model.errors import ModelError, SelfTestError
from digits.model.golden import Golden, check_answers, check_batch_invariance
from digits.model.manifest import FP32
from digits.model.runtime import CPU, Provider, bare_run, open_session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from digits.model.repository import ModelVersion

log = logging.getLogger(__name__)

INPUT = "pixels"
OUTPUT = "probabilities"


class Engine:
    """Runs an ONNX file with digits' signature: pixels uint8 [n, 28, 28] to probabilities float32 [n, 10].

    Attributes:
        provider: The execution provider that really runs, such as `CPUExecutionProvider`.
        metadata: The file's `metadata_props`.
    """

    def __init__(self, path: Path | bytes, *, provider: Provider = "auto", threads: int = 1) -> None:
        """Opens an ONNX file, or its content. Raises ModelError, of which ProviderError if the provider cannot run."""
        session = open_session(path, provider, threads)
        self.provider: str = session.get_providers()[0]
        self.metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self._run = bare_run(session)
        for kind, wanted, nodes in (
            ("input", (INPUT, "tensor(uint8)", [28, 28]), session.get_inputs()),
            ("output", (OUTPUT, "tensor(float)", [10]), session.get_outputs()),
        ):
            found = [(node.name, node.type, node.shape[1:]) for node in nodes]
            if found != [wanted]:
                raise ModelError(
                    f"{'the model' if isinstance(path, bytes) else path}: its {kind} is {found}; expected {[wanted]}"
                )

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities of the digits 0 to 9, float32 [n, 10], of images uint8 [n, 28, 28].

        Releases the GIL while it computes. On the CPU an image's answer does not depend on its batch.
        """
        (probabilities,) = self._run([OUTPUT], {INPUT: pixels}, None)
        return probabilities  # type: ignore[no-any-return] # skipped by mypy: it has no types


def load_engine(model: ModelVersion, *, variant: str = FP32, provider: Provider = "auto", threads: int = 1) -> Engine:
    """Opens a variant and proves on this host, by the golden set, that it answers as it was published.

    Raises:
        ModelError: the version has no such variant, it cannot be run, or it fails its self-test.
    """
    path = model.file(variant)
    engine = Engine(path, provider=provider, threads=threads)
    golden = Golden.read(model.golden)
    try:
        check_answers(engine.run, golden, variant)
    except SelfTestError as error:
        raise SelfTestError(f"{path}: {error}") from error
    try:
        check_batch_invariance(engine.run, golden.pixels)
    except SelfTestError as error:
        if engine.provider == CPU:
            raise SelfTestError(f"{path}: {error}") from error
        log.warning("%s: %s", path, error)  # a GPU promises no such thing
    return engine
