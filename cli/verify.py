from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from digits.export.settings import ImportSettings, VerifySettings
from digits.model.limits import Limits
from digits.storage.text import one_line


def verify(
    version: Annotated[str, Parameter(show_env_var=False)],
    /,
    settings: Annotated[VerifySettings, Parameter(name="*")] = VerifySettings(),
    limits: Annotated[Limits, Parameter(name="*")] = Limits(),
    imported: Annotated[ImportSettings, Parameter(name="*")] = ImportSettings(),
) -> int:
    """Run the acceptance checks of a published model again, on this host.

    ```
    digits verify 3 --models models
    digits verify models/digits/3 --test-data path/to/mnist.npz
    digits verify models/digits/3/model.int8.onnx --against runs/first/model.keras
    ```

    Compares the checksums of all files, runs every variant on the golden set or on a whole test set, and measures its
    speed. On the golden set, which has the hardest images, int8 is compared with its own recorded answers. The exit
    code is 1 if a check fails.

    Args:
        version: A version's number in the repository, a version's folder, or an ONNX file.
        settings: The images and the reference model.
        limits: The limits of the checks.
        imported: What the model of --against takes and gives, if it is an imported one.
    """
    from digits.export.verification import verify as run_verification

    failed = run_verification(version, settings, limits, imported)
    for line in failed:
        print(f"digits: failed: {one_line(line)}", file=sys.stderr)
    if not failed:
        print("passed")
    return 1 if failed else 0
