from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from digits.score.settings import ScoreSettings

DEFAULTS = ScoreSettings()


def score(
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    settings: Annotated[ScoreSettings, Parameter(name="*")] = DEFAULTS,
) -> int:
    """Returns the exit code: 1 with --strict if a row has no digit or an input is skipped.

    Args:
        paths: Pictures, folders, globs, .zip and .tar archives, .npz, .npy, IDX and CSV files (label,pixel0,... or
            pixels alone), or - for a list of these on the standard input.
        settings: How.
    """
    from digits.cli.interruption import INTERRUPTION
    from digits.score.scoring import score as run

    return int(run(paths, settings, done=INTERRUPTION.finish) > 0 and settings.strict)
