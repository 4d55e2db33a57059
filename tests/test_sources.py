"""The inputs of a scoring: what each path gives, and what is left out of it."""

from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from digits.score.sources import Sources

if TYPE_CHECKING:
    from pathlib import Path

    from digits.images.mnist import Mnist


def skipped(path: Path) -> list[str]:
    """What the inputs in a path leave out."""
    sources = Sources([str(path)])
    for _ in sources.chunks():
        pass
    return [line.replace(str(path), "PATH") for line in sources.skipped.lines()]


def test_whatever_is_skipped_is_counted_with_its_reason(data: Mnist, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert skipped(folder) == ["1 x nothing to score in it: PATH"]
    for name in (".DS_Store", ".hidden.png", "Thumbs.db", "note.txt", "other.txt", "README", "line\nfeed.txt"):
        (folder / name).touch()
    assert skipped(folder) == [
        "3 x .txt file: PATH/line\\nfeed.txt",
        "2 x hidden file: PATH/.DS_Store",
        "1 x file without suffix: PATH/README",
        "1 x .db file: PATH/Thumbs.db",
    ]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        assert archive.namelist() == []
    assert skipped(tmp_path / "a.zip") == ["1 x nothing to score in it: PATH"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder, "inside")
    assert len(skipped(tmp_path / "a.tar")) == 4
    x, y = data.x_test[:3], data.y_test[:3]
    objects = np.array([None, "seven", 7])
    np.savez(tmp_path / "a.npz", x=x, y=y, y_more=y, y_words=y.astype(str), small=x[:, :14], objects=objects)
    assert skipped(tmp_path / "a.npz") == [
        "1 x array of uint8 [3]: PATH/y_more",
        "1 x array of <U3 [3]: PATH/y_words",
        "1 x array of uint8 [3, 14, 28]: PATH/small",
        "1 x array of object [3]: PATH/objects",
    ]
    assert skipped(tmp_path / "a.npz" / "x") == []
