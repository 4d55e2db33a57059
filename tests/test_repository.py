"""The repository: versions appear whole, stay as they are, and a damaged one is not served."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from digits.model.errors import RepositoryError
from digits.model.repository import MANIFEST, SUMS, Repository, write_sums


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A repository of this test's own, with one version."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def test_an_empty_repository_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no model version; publish one with `digits export RUN`"):
        Repository(tmp_path).open()


def test_the_newest_version_is_opened_by_number_not_by_name(copy: Path) -> None:
    for version in (2, 10):
        shutil.copytree(copy / "digits" / "1", copy / "digits" / str(version))
    for name in (".staging-left-by-a-crash", "007", "latest"):
        (copy / "digits" / name).mkdir()
    (copy / "digits" / "99").touch()
    repository = Repository(copy)
    assert repository.versions() == [1, 2, 10]
    assert repository.open().number == 10
    assert repository.open(2).number == 2
    with pytest.raises(RepositoryError, match=r"no version 3; there are \[1, 2, 10\]"):
        repository.open(3)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "manifest.json"])
def test_a_flipped_byte_is_found(copy: Path, name: str) -> None:
    file = copy / "digits" / "1" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RepositoryError, match=f"{name}: damaged"):
        Repository(copy).open()


def test_a_missing_or_foreign_file_is_found(copy: Path) -> None:
    folder = copy / "digits" / "1"
    (folder / "notes.txt").touch()
    with pytest.raises(RepositoryError, match=r"notes\.txt was not published"):
        Repository(copy).open()
    (folder / "notes.txt").unlink()
    (folder / "golden.npz").unlink()
    with pytest.raises(RepositoryError, match=r"golden\.npz is missing"):
        Repository(copy).open()
    (folder / SUMS).unlink()
    with pytest.raises(RepositoryError, match=f"{SUMS} cannot be read"):
        Repository(copy).open()


def test_a_manifest_of_another_schema_is_refused(copy: Path) -> None:
    folder = copy / "digits" / "1"
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99'))
    write_sums(folder)
    with pytest.raises(RepositoryError, match="manifest schema 99; this program reads 1"):
        Repository(copy).open()
    manifest.write_text("[]")
    write_sums(folder)
    with pytest.raises(RepositoryError, match="not a manifest"):
        Repository(copy).open()


def test_publishing_gives_the_next_number_and_readable_files(copy: Path) -> None:
    repository = Repository(copy)
    with repository.staging() as staging:
        for file in (copy / "digits" / "1").iterdir():
            shutil.copy(file, staging)
        published = repository.publish(Path(staging))
    assert published.number == 2
    assert repository.open().folder == published.folder
    assert published.folder.stat().st_mode & stat.S_IXUSR
    assert stat.S_IMODE(published.folder.stat().st_mode) == stat.S_IMODE((copy / "digits").stat().st_mode)


def test_what_is_staged_and_not_published_vanishes(copy: Path) -> None:
    repository = Repository(copy)

    def fail() -> None:
        with repository.staging() as staging:
            (Path(staging) / "model.onnx").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [entry.name for entry in repository.folder.iterdir()] == ["1"]
