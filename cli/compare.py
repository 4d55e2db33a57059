from __future__ import annotations

from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated

from cyclopts import Parameter

from digits.lab.settings import CompareSettings
from digits.storage.text import one_line


def compare(
    *runs: Path,
    settings: Annotated[CompareSettings, Parameter(name="*")] = CompareSettings(),
) -> None:
    """Compare finished runs in a table, a figure and a short text.

    ```
    digits train --out runs/10-epochs
    digits train --out runs/50-epochs --epochs 50
    digits compare runs/10-epochs runs/50-epochs
    ```

    Reports for each run whether it overfits, from which epoch and by how much, and whether its test accuracy differs
    significantly from that of the first run.

    Args:
        runs: The run folders that `digits train` left, two or more.
        settings: The settings.
    """
    from digits.lab.comparison import compare as run_comparison

    result = run_comparison(runs)
    print(result.table.text())
    print(f"test: {result.test_images:,} images ({result.test_source})\n")
    print("\n".join(result.words))
    print(f"\nreport: {one_line(result.write(settings.out))}")
