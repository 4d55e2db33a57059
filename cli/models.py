"""`digits models`: the repository, its versions and their evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.storage.text import one_line

if TYPE_CHECKING:
    from digits.model.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsSettings:
    """The repository that a command reads."""

    models: Path | None = None
    """The model repository. Default: the bundled model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowSettings(ModelsSettings):
    """Settings of `digits models show`."""

    figure: Path | None = None
    """Draw the graph of each variant into this PNG, SVG or PDF file. Needs digits-serving[train]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSettings:
    """The repository that a command changes."""

    models: Path = Path("models")
    """The model repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSettings(ChangeSettings):
    """Settings of `digits models prune`."""

    keep: Annotated[int, Parameter(validator=Number(gte=1))] = 3
    """How many of the newest versions to keep; at least one."""


# A version is given only on the command line: DIGITS_VERSION may belong to the deployment.
Given = Annotated[int, Parameter(show_env_var=False)]
Version = Annotated[int | None, Parameter(show_env_var=False)]
READ = ModelsSettings()
SHOW = ShowSettings()
CHANGE = ChangeSettings()
PRUNE = PruneSettings()
ReadSettings = Annotated[ModelsSettings, Parameter(name="*")]
WriteSettings = Annotated[ChangeSettings, Parameter(name="*")]


def list_(settings: ReadSettings = READ) -> None:
    """List the versions of a repository.

    ```
    digits models list --models models
    ```
    """
    from digits.cli.model_tables import list_table

    print(list_table(_repository(settings)))


def show(version: Version = None, /, settings: Annotated[ShowSettings, Parameter(name="*")] = SHOW) -> None:
    """Show a version: its source, test results and speed.

    ```
    digits models show 3 --models models --figure graphs.png
    ```

    Args:
        version: Its number. Default: the newest.
        settings: The repository.
    """
    from digits.cli.model_tables import show_table

    model = _repository(settings).open(version)
    print(show_table(model))
    if settings.figure is not None:
        from digits.export.drawing import draw

        draw({name: model.file(name) for name in model.manifest.variants}, settings.figure)
        print(f"figure: {one_line(settings.figure)}")


def diff(first: Given, second: Given, /, settings: ReadSettings = READ) -> None:
    """Show the differences between two versions.

    ```
    digits models diff 2 3 --models models
    ```

    Args:
        first: The number of one.
        second: The number of the other.
        settings: The repository.
    """
    from digits.cli.model_tables import diff_table

    repository = _repository(settings)
    print(diff_table(repository.open(first), repository.open(second)))


def rollback(version: Version = None, /, settings: WriteSettings = CHANGE) -> None:
    """Make an earlier version the newest again.

    ```
    digits models rollback --models models
    digits models rollback 2 --models models
    ```

    Newer versions are withdrawn: each is renamed to .withdrawn-N, and its number is not used again. A running server
    keeps its version until it is restarted.

    Args:
        version: The version to make the newest. Default: the second newest.
        settings: The repository.
    """
    from digits.model.repository import Repository

    repository = Repository(settings.models)
    before = repository.versions()
    model = repository.rollback(version)
    gone = ", ".join(str(number) for number in before if number > model.number)
    print(f"newest: {one_line(model.folder)}")
    print(f"withdrawn: {gone}; kept until a newer version is there and `digits models prune` runs")


def prune(settings: Annotated[PruneSettings, Parameter(name="*")] = PRUNE) -> None:
    """Remove old versions, and withdrawn versions older than the newest.

    ```
    digits models prune --keep 3 --models models
    ```

    The newest version is never removed.
    """
    from digits.model.repository import Repository

    removed = Repository(settings.models).prune(settings.keep)
    print(f"removed: {', '.join(map(str, removed)) or 'nothing'}")


def _repository(settings: ModelsSettings) -> Repository:
    from digits.model.repository import open_repository

    return open_repository(settings.models)
