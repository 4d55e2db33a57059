"""`digits models`: the repository, its versions and their evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.storage.text import one_line

# A version is given only on the command line: DIGITS_VERSION may belong to the deployment.
Given = Annotated[int, Parameter(show_env_var=False)]
Version = Annotated[int | None, Parameter(show_env_var=False)]
MODELS = Path("models")


def list_(*, models: Path | None = None) -> None:
    """List the versions of a repository.

    ```
    digits models list --models models
    ```

    Args:
        models: The model repository. Default: the bundled model.
    """
    from digits.cli.model_tables import list_table
    from digits.model.repository import open_repository

    print(list_table(open_repository(models)))


def show(version: Version = None, /, *, models: Path | None = None, figure: Path | None = None) -> None:
    """Show a version: its source, test results and speed.

    ```
    digits models show 3 --models models --figure graphs.png
    ```

    Args:
        version: Its number. Default: the newest.
        models: The model repository. Default: the bundled model.
        figure: Draw the graph of each variant into this PNG, SVG or PDF file. Needs digits-serving[train].
    """
    from digits.cli.model_tables import show_table
    from digits.model.repository import open_repository

    model = open_repository(models).open(version)
    print(show_table(model))
    if figure is not None:
        from digits.export.drawing import draw

        draw({name: model.file(name) for name in model.manifest.variants}, figure)
        print(f"figure: {one_line(figure)}")


def diff(first: Given, second: Given, /, *, models: Path | None = None) -> None:
    """Show the differences between two versions.

    ```
    digits models diff 2 3 --models models
    ```

    Args:
        first: The number of one.
        second: The number of the other.
        models: The model repository. Default: the bundled model.
    """
    from digits.cli.model_tables import diff_table
    from digits.model.repository import open_repository

    repository = open_repository(models)
    print(diff_table(repository.open(first), repository.open(second)))


def rollback(version: Version = None, /, *, models: Path = MODELS) -> None:
    """Make an earlier version the newest again.

    ```
    digits models rollback --models models
    digits models rollback 2 --models models
    ```

    Newer versions are withdrawn: each is renamed to .withdrawn-N, and its number is not used again. A running server
    keeps its version until it is restarted.

    Args:
        version: The version to make the newest. Default: the second newest.
        models: The model repository.
    """
    from digits.model.repository import Repository

    repository = Repository(models)
    before = repository.versions()
    model = repository.rollback(version)
    gone = ", ".join(str(number) for number in before if number > model.number)
    print(f"newest: {one_line(model.folder)}")
    print(f"withdrawn: {gone}; kept until a newer version is there and `digits models prune` runs")


def prune(*, models: Path = MODELS, keep: Annotated[int, Parameter(validator=Number(gte=1))] = 3) -> None:
    """Remove old versions, and withdrawn versions older than the newest.

    ```
    digits models prune --keep 3 --models models
    ```

    The newest version is never removed.

    Args:
        models: The model repository.
        keep: How many of the newest versions to keep; at least one.
    """
    from digits.model.repository import Repository

    removed = Repository(models).prune(keep)
    print(f"removed: {', '.join(map(str, removed)) or 'nothing'}")
