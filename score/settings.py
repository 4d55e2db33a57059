"""The settings of a scoring."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.images.settings import ArraySettings
from digits.model.manifest import CpuPrecision  # noqa: TC001 the command line resolves it at run time


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings(ArraySettings):
    """The settings of `digits score`."""

    out: Path | None = None
    """The table: a file that ends in .csv, .jsonl or .parquet (needs digits-serving[parquet]). Required."""

    overwrite: bool = False
    """Score all inputs, and replace the table. Default: keep a finished table, and continue an interrupted one."""

    probabilities: bool = False
    """Ten more columns: the probability of each digit."""

    several: bool = False
    """Pictures have any number of digits: a row for each, with five more columns: row, its row in the picture, and its
    box: left, top, right and bottom in pixels of the upright picture."""

    labels: str | None = None
    """The true digits: `from-folder` (the name of a picture's folder, 0 to 9) or a file: CSV with the columns path and
    label, separated by commas, semicolons or tabs; .npy or IDX, a label for each row; .npz, y_test for x_test and so
    on. A path in the CSV is absolute, or begins at any folder that the picture is in. Adds a column, the accuracy and a
    confusion matrix."""

    contact_sheet: Path | None = None
    """Draw the least certain digits, as the model gets them, into this PNG file."""

    strict: bool = False
    """Exit with 1 if a row has no digit or an input is skipped: a file whose name is not a picture's, hidden files
    such as .DS_Store among them; an array that is not images; an empty folder, archive or list. Not inputs: the files
    that this command itself reads or writes, the labels y_NAME of x_NAME in an .npz, and IDX files of labels."""

    server: str | None = None
    """Ask the server at this address: HOST:PORT or unix:PATH. Default: classify in this process."""

    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=86400))] = 10.0
    """Seconds that a call to the server may take."""

    patience: Annotated[float, Parameter(validator=Number(gte=0))] = 600.0
    """Seconds that the server may be away before the scoring stops; finished rows are kept."""

    models: Path | None = None
    """The model repository, for classifying in this process. Default: the bundled model."""

    precision: CpuPrecision = "auto"
    """Which variant of it; `auto` takes the fastest one that passes its self-test on this host."""

    processes: Annotated[int, Parameter(validator=Number(gte=0, lte=1024))] = 0
    """Processes that read and decode pictures. 0: one for each core that this process may use."""

    engine: Literal["local", "ray"] = "local"
    """`ray` uses a Ray cluster (digits-serving[ray]), whose nodes see the files under the same paths."""

    ray_address: str | None = None
    """The cluster, as `ray://HOST:10001` or HOST:PORT. Default: one that is started on this machine, for this run."""


ROW_SETTINGS = ("probabilities", "several", *(field.name for field in fields(ArraySettings)))
"""Those that change a row, besides the model: a table is never a mixture of two values."""
