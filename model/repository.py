"""The model repository on disk: `<root>/<name>/<integer version>/`, the layout of Triton and KServe."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digits.model.checksums import check_checksums, write_checksums
from digits.model.errors import RepositoryError
from digits.model.manifest import Manifest
from digits.model.triton import config_pbtxt
from digits.storage.atomic_file import sync
from digits.storage.lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

BUNDLED = Path(__file__).parent / "bundled"  # the repository of the model that comes with the package
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
CONFIG = "config.pbtxt"
STAGING = ".staging-"
WITHDRAWN = ".withdrawn-"


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
            why = self.manifest.left_out.get(variant)
            raise RepositoryError(f"{self.folder}: no variant {variant!r}{f' ({why})' if why else ''}; it has {has}")
        return self.folder / evidence.file


def open_repository(models: Path | None) -> Repository:
    """The repository in a folder, or else the bundled one."""
    return Repository(BUNDLED if models is None else models)


def open_version(folder: Path) -> ModelVersion:
    """Opens the version in a folder after checking every file's checksum.

    Raises:
        RepositoryError: it is none, or one of its files is missing or damaged.
    """
    check_checksums(folder)
    return ModelVersion(folder, Manifest.read(folder / MANIFEST))


class Repository:
    """The versions of one model. A version appears whole, by rename, and is never overwritten."""

    def __init__(self, root: Path, name: str = "digits") -> None:
        self.folder = root / name

    def versions(self) -> list[int]:
        """The published version numbers, oldest first."""
        return _numbers(self.folder)

    def open(self, version: int | None = None) -> ModelVersion:
        """Opens a version (by default the newest) after checking every file's checksum.

        Raises:
            RepositoryError: there is no such version, or one of its files is missing or damaged.
        """
        versions = self.versions()
        if not versions:
            raise self._empty()
        if version is None:
            version = versions[-1]
        if version not in versions:
            raise RepositoryError(f"{self.folder}: no version {version}; there are {versions}")
        return open_version(self.folder / str(version))

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder beside the versions to fill and `publish`; it vanishes if it is not published.

        What a killed export left behind vanishes with it: a folder that nobody holds the lock of any more.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with self._locked():
                for left in self.folder.glob(f"{STAGING}*"):
                    _remove_abandoned(left)
                staged = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder))
                stack.callback(shutil.rmtree, staged, ignore_errors=True)
                stack.enter_context(locked(staged, wait=True))
            yield staged

    def publish(self, staged: Path) -> ModelVersion:
        """Makes the staged folder the next version: checksums, then one rename. Then config.pbtxt follows it.

        A number that was used once, by a version that is withdrawn by now, is not used again.
        """
        write_checksums(staged)
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o777 & ~umask)  # a temporary folder is its owner's alone
        for path in (*staged.iterdir(), staged):
            sync(path)
        with self._locked():
            folder = self.folder / str(max([*self.versions(), *self.withdrawn()], default=0) + 1)
            config = self._config_beside(staged)
            staged.rename(folder)
            config.replace(self.folder / CONFIG)
            sync(self.folder)
        return ModelVersion(folder, Manifest.read(folder / MANIFEST))

    def withdrawn(self) -> list[int]:
        """The versions that a rollback took out of service, oldest first; their files are still there."""
        return _numbers(self.folder, WITHDRAWN)

    def rollback(self, version: int | None = None) -> ModelVersion:
        """Makes an earlier version the newest, by default the second newest: withdraws the ones above it by rename.

        Raises:
            RepositoryError: there is no such version, it is damaged, or there is none above it.
        """
        with self._locked():
            versions = self.versions()
            if version is None:
                if len(versions) < 2:  # noqa: PLR2004 one to withdraw and one to stay
                    raise RepositoryError(
                        f"{self.folder}: there is no earlier version to roll back to; there are {versions}"
                    )
                version = versions[-2]
            model = self.open(version)
            if version == versions[-1]:
                raise RepositoryError(f"{self.folder}: version {version} is the newest already; there are {versions}")
            config = self._config_beside(model.folder)
            for above in reversed(versions[versions.index(version) + 1 :]):
                (self.folder / str(above)).rename(self.folder / f"{WITHDRAWN}{above}")
            config.replace(self.folder / CONFIG)
            return model

    def prune(self, keep: int) -> list[int]:
        """Removes all but the newest `keep` versions, one at least, and the withdrawn ones below the newest.

        A version loses its number first, by rename, so that nobody ever reads half of one.

        Returns:
            The numbers of what is removed.

        Raises:
            RepositoryError: there is no version, or the newest one is damaged: then older ones may be needed.
        """
        if keep < 1:
            raise RepositoryError(f"--keep {keep}: the last version is never removed; say 1 or more")
        with self._locked():
            newest = self.open().number
            old = self.versions()[:-keep]
            below = [number for number in self.withdrawn() if number < newest]
            gone = [self.folder / str(number) for number in old]
            gone += [self.folder / f"{WITHDRAWN}{number}" for number in below]
            for folder in gone:
                unnumbered = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder))
                folder.rename(unnumbered)  # over the empty folder
                shutil.rmtree(unnumbered)
            return sorted([*old, *below])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Whoever publishes, rolls back or prunes does so alone. Readers need no lock: they see whole versions."""
        if not self.folder.is_dir():
            raise self._empty()
        with locked(self.folder, wait=True):
            yield

    def _empty(self) -> RepositoryError:
        return RepositoryError(f"{self.folder}: no model version; publish one with `digits export RUN`")

    def _config_beside(self, version: Path) -> Path:
        """The config.pbtxt of a version, written where it only has to be renamed."""
        beside = self.folder / f"{STAGING}{CONFIG}"
        beside.write_text(config_pbtxt(Manifest.read(version / MANIFEST)), encoding="utf-8")
        sync(beside)
        return beside


def _numbers(folder: Path, prefix: str = "") -> list[int]:
    """The numbers that, after the prefix, name a folder here, in order."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.glob(f"{prefix}*") if entry.is_dir())
    tails = (name.removeprefix(prefix) for name in names)
    return sorted(int(tail) for tail in tails if tail.isascii() and tail.isdecimal() and tail == str(int(tail)))


def _remove_abandoned(left: Path) -> None:
    try:
        with locked(left, wait=False):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    except OSError:
        return  # somebody is filling it, or somebody else's hands are on it
