from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from digits.score.settings import ScoreSettings


def score(
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    settings: Annotated[ScoreSettings, Parameter(name="*")] = ScoreSettings(),
) -> int:
    """Classify folders of pictures, archives and arrays into a table, one row for each picture.

    ```
    digits score scans --out table.csv
    digits score scans 'more/**/*.png' old.zip mnist.npz/x_test --out table.parquet --labels from-folder
    find scans -name '*.jpg' -print0 | digits score - --out table.jsonl --server localhost:50051
    ```

    Rows have path, digit, confidence, novelty, status and error, in the order of the inputs. A picture that cannot be
    read, is blank, is unclear, shows several digits or is not a digit gets a row with that status, and scoring
    continues; with --several each digit of a picture gets a row. Hidden files, files without a picture's extension and
    arrays that are not images are skipped; the summary counts them by reason. With --strict the exit code is 1 if a row
    has no digit or anything is skipped. After Ctrl-C or a crash the finished rows are kept in table.csv.journal, and
    the same command continues from there. Uses all cores, and the bundled model, the newest version in --models, or a
    server.

    Args:
        paths: Pictures, folders, globs, .zip and .tar archives, .npz, .npy, IDX and CSV files (label,pixel0,... or
            pixels alone), or - for a list of these on the standard input.
        settings: The settings.
    """
    from digits.cli.interruption import INTERRUPTION
    from digits.score.scoring import score as run

    return int(run(paths, settings, done=INTERRUPTION.finish) > 0 and settings.strict)
