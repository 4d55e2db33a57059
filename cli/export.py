from __future__ import annotations

from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated

from cyclopts import Parameter

from digits.cli.quiet import quiet_stderr
from digits.export.settings import ExportSettings

DEFAULTS = ExportSettings()


def export(
    run: Path,
    /,
    settings: Annotated[ExportSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Exports a run.

    Args:
        run: The run folder that `digits train` left.
        settings: How.
    """
    with quiet_stderr():
        from digits.export.publishing import export as publish
        from digits.model.manifest import FP32

    model = publish(run, settings)
    evidence = model.manifest.variants[FP32]
    print(f"accuracy: {evidence.accuracy:.2%} of {model.manifest.test_images:,} test images")
    print(f"published: {model.folder}")
    print(f"next: digits serve --models {settings.models}")
