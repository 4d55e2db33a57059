from __future__ import annotations

from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated

from cyclopts import Parameter

from digits.lab.settings import CompareSettings
from digits.storage.text import one_line

DEFAULTS = CompareSettings()


def compare(
    *runs: Path,
    settings: Annotated[CompareSettings, Parameter(name="*")] = DEFAULTS,
) -> None:
    """Compare finished runs: their numbers in a table, their curves in a figure, and both in words.

    ```
    digits train --out runs/10-epochs
    digits train --out runs/50-epochs --epochs 50
    digits compare runs/10-epochs runs/50-epochs
    ```

    Says for each run whether it overfits, from which epoch on and by how much; and for each against the first whether
    its test accuracy differs by more than chance explains.

    Args:
        runs: The run folders that `digits train` left, two or more.
        settings: How.
    """
    from digits.lab.comparison import compare as run_comparison

    result = run_comparison(runs)
    print(result.table.text())
    print(f"test: {result.test_images:,} images ({result.test_source})\n")
    print("\n".join(result.words))
    print(f"\nreport: {one_line(result.write(settings.out))}")
