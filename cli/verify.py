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
    """Returns the exit code: 1 if anything failed.

    Args:
        version: A version's number in the repository, a version's folder, or an ONNX file.
        settings: On what, and against what.
        limits: How near it has to be.
        imported: What the model of --against takes and gives, if it is an imported one.
    """
    from digits.export.verification import verify as run_verification

    failed = run_verification(version, settings, limits, imported)
    for line in failed:
        print(f"digits: failed: {one_line(line)}", file=sys.stderr)
    if not failed:
        print("passed")
    return 1 if failed else 0
