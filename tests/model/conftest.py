"""The bundled model, which needs neither training nor TensorFlow."""

import shutil
from pathlib import Path

import pytest

from digits.model.repository import BUNDLED, Repository


@pytest.fixture
def bundled() -> Repository:
    """The bundled repository. It is not changed."""
    return Repository(BUNDLED)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A copy of the bundled repository, with one version."""
    folder = shutil.copytree(BUNDLED, tmp_path / "models")
    (folder / "digits" / str(Repository(folder).versions()[-1])).rename(folder / "digits" / "1")
    return Repository(folder)


@pytest.fixture
def version(repository: Repository) -> Path:
    """The folder of its version."""
    return repository.folder / "1"
