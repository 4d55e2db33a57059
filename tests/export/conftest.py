"""What the tests of the export share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digits.export.publishing import export
from digits.export.settings import ExportSettings, ImportSettings
from digits.images.mnist import Mnist
from digits.model.limits import Limits
from digits.model.repository import ModelVersion

LENIENT = Limits(int8_agreement=99, int8_accuracy_loss=1)  # a thousand test images are few


@pytest.fixture(scope="session")
def npz(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded digits in a file, which is read faster."""
    file = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(file, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return file


@pytest.fixture
def publish(npz: Path) -> Callable[..., ModelVersion]:
    """Publishes a model in a repository next to it."""

    def publish(path: Path, variants: tuple[str, ...] = (), limits: Limits = LENIENT, **imported: Any) -> ModelVersion:
        settings = ExportSettings(models=path.parent / "models", data=str(npz), variants=variants)
        return export(path, settings, limits, ImportSettings(**imported))

    return publish
