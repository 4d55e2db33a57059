"""What the tests of a scoring share."""

from pathlib import Path

import pytest
from PIL import Image

from digits.images.mnist import Mnist

COUNT = 300


@pytest.fixture(scope="session")
def folders(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 300 test digits as PNG files, each in the folder of its label."""
    top = tmp_path_factory.mktemp("scans") / "scans"
    for index, (digit, label) in enumerate(zip(data.x_test[:COUNT], data.y_test[:COUNT], strict=True)):
        folder = top / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(folder / f"{index:04}.png")
    return top
