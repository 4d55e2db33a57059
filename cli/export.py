from __future__ import annotations

from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated

from cyclopts import Parameter

from digits.export.settings import ExportSettings, ImportSettings
from digits.model.limits import Limits
from digits.storage.text import one_line

LOW = 0.9  # accuracy


def export(
    source: Path,
    /,
    settings: Annotated[ExportSettings, Parameter(name="*")] = ExportSettings(),
    limits: Annotated[Limits, Parameter(name="*")] = Limits(),
    imported: Annotated[ImportSettings, Parameter(name="*")] = ImportSettings(),
) -> None:
    """Export a model to ONNX, check it against the original, and publish it.

    ```
    digits export runs/first --models models
    digits export torch.onnx --output logits --mean 0.1307 --std 0.3081
    digits export cnn.keras --input-scale 255
    ```

    Takes a run, or imports a model: an ONNX file, a Keras file (.keras, .h5) or a SavedModel folder. Makes fp32,
    int8 (several times as fast on the CPU) and fp16 (for CUDA). Every variant and the original classify
    every test image. A variant that differs too much is left out and its worst image is named; without fp32 nothing
    is published. The scales of int8 are calibrated on training images only.

    Args:
        source: The run folder that `digits train` left, or a model to import: an ONNX file, a Keras
            file (.keras, .h5) or a SavedModel folder.
        settings: The settings.
        limits: The limits of the checks.
        imported: What an imported model takes and gives.
    """
    from digits.export.publishing import export as publish
    from digits.model.manifest import FP32

    model = publish(source, settings, limits, imported)
    evidence = model.manifest.variants[FP32]
    print(f"accuracy: {evidence.accuracy:.2%} of {model.manifest.test_images:,} test images")
    if evidence.accuracy < LOW:
        hint = "" if model.manifest.training else "; do --input-scale, --mean, --std and --output fit the model?"
        print(f"warning: that is below {LOW:.0%}{hint}")
    print(f"published: {one_line(model.folder)}")
    print(f"next: digits serve --models {settings.models}")
