"""The model repository on disk: `<root>/<name>/<integer version>/`, the layout of Triton and KServe."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digits.model.errors import RepositoryError
from digits.model.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published version whose files are the ones that were published."""

    folder: Path
    manifest: Manifest

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @property
    def golden(self) -> Path:
        return self.folder / GOLDEN

    def file(self, variant: str) -> Path:
        """The ONNX file of a variant. Raises RepositoryError if the version has no such variant."""
        evidence = self.manifest.variants.get(variant)
        if evidence is None:
            has = ", ".join(self.manifest.variants)
            raise RepositoryError(f"{self.folder}: no variant {variant!r}; it has {has}")
        return self.folder / evidence.file


class Repository:
    """The versions of one model. A version appears whole, by rename, and is never overwritten."""

    def __init__(self, root: Path, name: str = "digits") -> None:
        self.folder = root / name

    def versions(self) -> list[int]:
        """The published version numbers, oldest first."""
        if not self.folder.is_dir():
            return []
        folders = (entry.name for entry in self.folder.iterdir() if entry.is_dir())
        return sorted(int(name) for name in folders if name.isdecimal() and name == str(int(name)))

    def open(self, version: int | None = None) -> ModelVersion:
        """Opens a version (by default the newest) after checking every file's sum.

        Raises:
            RepositoryError: there is no such version, or one of its files is missing or damaged.
        """
        versions = self.versions()
        if not versions:
            raise RepositoryError(f"{self.folder}: no model version; publish one with `digits export RUN`")
        if version is None:
            version = versions[-1]
        if version not in versions:
            raise RepositoryError(f"{self.folder}: no version {version}; there are {versions}")
        folder = self.folder / str(version)
        check_sums(folder)
        return ModelVersion(folder, Manifest.read(folder / MANIFEST))

    def staging(self) -> tempfile.TemporaryDirectory[str]:
        """A folder beside the versions to fill and `publish`; it vanishes if it is not published."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".staging-", dir=self.folder)

    def publish(self, staged: Path) -> ModelVersion:
        """Makes the staged folder the next version: sums, then one rename."""
        write_sums(staged)
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o777 & ~umask)  # a temporary folder is its owner's alone
        while True:
            folder = self.folder / str(max(self.versions(), default=0) + 1)
            try:
                staged.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
            else:
                return ModelVersion(folder, Manifest.read(folder / MANIFEST))


def write_sums(folder: Path) -> None:
    """Writes SHA256SUMS of every other file, as sha256sum(1) does."""
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in _files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="ascii")


def check_sums(folder: Path) -> None:
    """Raises RepositoryError unless the folder holds exactly the files that SHA256SUMS names, unchanged."""
    try:
        lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise RepositoryError(f"{folder}: {SUMS} cannot be read ({error})") from error
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = {path.name for path in _files(folder)}
    if missing := sorted(sums.keys() - present):
        raise RepositoryError(f"{folder}: damaged, {missing[0]} is missing; export the run again")
    if unknown := sorted(present - sums.keys()):
        raise RepositoryError(f"{folder}: {unknown[0]} was not published with it; remove it")
    for name, digest in sums.items():
        if file_sha256(folder / name) != digest:
            raise RepositoryError(f"{folder / name}: damaged, its SHA-256 is not the published one; export again")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.name != SUMS)
