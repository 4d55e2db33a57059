"""The model in the box: a published version that comes with the package, served where no other is named."""

from __future__ import annotations

from pathlib import Path

from digits.model.repository import Repository

FOLDER = Path(__file__).parent / "box"


def repository(models: Path | None) -> Repository:
    """The repository in a folder, or else the one in the box."""
    return Repository(FOLDER if models is None else models)
