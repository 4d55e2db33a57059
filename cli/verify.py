from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from digits.export.settings import ImportSettings, VerifySettings
from digits.model.limits import Limits
from digits.storage.text import one_line

DEFAULTS = VerifySettings()
LIMITS = Limits()
IMPORTED = ImportSettings()


def verify(
    version: Annotated[str, Parameter(show_env_var=False)],
    /,
    settings: Annotated[VerifySettings, Parameter(name="*")] = DEFAULTS,
    limits: Annotated[Limits, Parameter(name="*")] = LIMITS,
    imported: Annotated[ImportSettings, Parameter(name="*")] = IMPORTED,
) -> int:
    """Run the acceptance checks again, on this host: does a published model still answer as it did?

    ```
    digits verify 3 --models models
    digits verify models/digits/3 --test-data path/to/mnist.npz
    digits verify models/digits/3/model.int8.onnx --against runs/first/model.keras
    ```

    Checks the checksums of all files, runs every variant on the golden set, or on a whole test set, and times it. On
    the golden set, whose images are the hardest, int8 is compared with its own recorded answers. Exit code 1 if
    anything failed.

    Args:
        version: A version's number in the repository, a version's folder, or an ONNX file.
        settings: On what, and against what.
        limits: How near it has to be.
        imported: What the model of --against takes and gives, if it is an imported one.

    Returns:
        The exit code: 1 if anything failed.
    """
    from digits.export.verification import verify as run_verification

    failed = run_verification(version, settings, limits, imported)
    for line in failed:
        print(f"digits: failed: {one_line(line)}", file=sys.stderr)
    if not failed:
        print("passed")
    return 1 if failed else 0
