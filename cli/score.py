from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from digits.score.settings import ScoreSettings

DEFAULTS = ScoreSettings()


def score(
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    settings: Annotated[ScoreSettings, Parameter(name="*")] = DEFAULTS,
) -> int:
    """Score folders of pictures, archives and arrays into a table, in their order, none lost.

    ```
    digits score scans --out table.csv
    digits score scans 'more/**/*.png' old.zip mnist.npz/x_test --out table.parquet --labels from-folder
    find scans -name '*.jpg' -print0 | digits score - --out table.jsonl --server localhost:50051
    ```

    One row a picture: path, digit, confidence, status, error. A picture that cannot be read, is blank, unclear or shows
    several digits is a row that says so, and nothing stops. Files in a folder or an archive whose names are not
    pictures', hidden files, and arrays that are not images are skipped; the summary counts them by their reasons. With
    --strict the exit code is 1 if a row has no digit or anything is skipped. Ctrl-C or a crash
    keeps what is done, in table.csv.journal beside the table, and the same command goes on from there. Uses all cores,
    by the model that comes with digits or by the newest of --models; or a server.

    Args:
        paths: Pictures, folders, globs, .zip and .tar archives, .npz, .npy, IDX and CSV files (label,pixel0,... or
            pixels alone), or - for a list of these on the standard input.
        settings: How.

    Returns:
        The exit code: 1 with --strict if a row has no digit or an input is skipped.
    """
    from digits.cli.interruption import INTERRUPTION
    from digits.score.scoring import score as run

    return int(run(paths, settings, done=INTERRUPTION.finish) > 0 and settings.strict)
