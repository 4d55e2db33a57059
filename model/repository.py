"""The model repository on disk: `<root>/<name>/<integer version>/`, the layout of Triton and KServe."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from digits.model.checksums import check_checksums, write_checksums
from digits.model.errors import RepositoryError
from digits.model.manifest import Manifest
from digits.model.triton import config_pbtxt
from digits.storage.atomic_file import replacing, sync
from digits.storage.checksums import file_sha256
from digits.storage.lock import locked

BUNDLED = Path(__file__).parent / "bundled"  # the repository of the model that comes with the package
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
CONFIG = "config.pbtxt"
STAGING = ".staging-"
WITHDRAWN = ".withdrawn-"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published version whose checksums match."""

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

    def sha256(self, variant: str) -> str:
        """The SHA-256 of a variant's ONNX file. Raises RepositoryError if the version has no such variant."""
        return file_sha256(self.file(variant))


def open_version(folder: Path) -> ModelVersion:
    """Opens the version in a folder. Raises RepositoryError if a file is missing, damaged or not a version's."""
    check_checksums(folder)
    return ModelVersion(folder, Manifest.read(folder / MANIFEST))


class Repository:
    """The versions of one model. A version appears complete, by rename, and is never overwritten."""

    def __init__(self, root: Path, name: str = "digits") -> None:
        self.folder = root / name

    def versions(self) -> list[int]:
        """The published version numbers, oldest first."""
        return _numbers(self.folder)

    def withdrawn(self) -> list[int]:
        """The versions that a rollback withdrew, oldest first; their files are still there."""
        return _numbers(self.folder, WITHDRAWN)

    def open(self, version: int | None = None) -> ModelVersion:
        """Opens a version, by default the newest. Raises RepositoryError if there is none, or if it is damaged."""
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
        """A folder next to the versions, to fill and `publish`. It is removed if it is not published.

        The folders of killed exports, whose lock nobody holds any more, are removed first.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with self._locked():
                for abandoned in self.folder.glob(f"{STAGING}*"):
                    _remove_if_unlocked(abandoned)
                staged = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder))
                stack.callback(shutil.rmtree, staged, ignore_errors=True)
                stack.enter_context(locked(staged, wait=True))
            yield staged

    def publish(self, staged: Path) -> ModelVersion:
        """Makes the staged folder the next version, by one rename; config.pbtxt then describes it.

        The number of a withdrawn version is not used again.
        """
        write_checksums(staged)
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o777 & ~umask)  # a temporary folder is accessible to its owner only
        for path in (*staged.iterdir(), staged):
            sync(path)
        with self._locked():
            folder = self.folder / str(max([*self.versions(), *self.withdrawn()], default=0) + 1)
            with self._configured(staged):
                staged.rename(folder)
            sync(self.folder)
        return ModelVersion(folder, Manifest.read(folder / MANIFEST))

    def rollback(self, version: int | None = None) -> ModelVersion:
        """Makes an earlier version the newest, by default the second newest: withdraws those above it by rename.

        Raises:
            RepositoryError: there is no such version, it is damaged, or it is the newest already.
        """
        with self._locked():
            versions = self.versions()
            there = f"there are {versions}"
            if version is None and len(versions) == 1:
                raise RepositoryError(f"{self.folder}: there is no earlier version to roll back to; {there}")
            model = self.open(version if version is not None or not versions else versions[-2])
            if (version := model.number) == versions[-1]:
                raise RepositoryError(f"{self.folder}: version {version} is the newest already; {there}")
            with self._configured(model.folder):
                for above in reversed(versions[versions.index(version) + 1 :]):
                    (self.folder / str(above)).rename(self.folder / f"{WITHDRAWN}{above}")
            return model

    def prune(self, keep: int) -> list[int]:
        """Removes all but the newest `keep` versions, and the withdrawn ones below the newest; gives their numbers.

        A version loses its number first, by rename, so that nobody reads a half-removed one.

        Raises:
            RepositoryError: there is no version, or the newest one is damaged: then older ones may be needed.
        """
        if keep < 1:
            raise RepositoryError(f"--keep {keep}: the last version is never removed; say 1 or more")
        with self._locked():
            newest = self.open().number
            old = {number: self.folder / str(number) for number in self.versions()[:-keep]}
            old |= {number: self.folder / f"{WITHDRAWN}{number}" for number in self.withdrawn() if number < newest}
            for folder in old.values():
                unnumbered = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder))
                folder.rename(unnumbered)  # replaces the empty folder
                shutil.rmtree(unnumbered)
            return sorted(old)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at once publishes, rolls back or prunes. Readers need no lock: they see whole versions."""
        if not self.folder.is_dir():
            raise self._empty()
        with locked(self.folder, wait=True):
            yield

    def _empty(self) -> RepositoryError:
        return RepositoryError(f"{self.folder}: no model version; publish one with `digits export RUN`")

    @contextmanager
    def _configured(self, version: Path) -> Iterator[None]:
        """Writes config.pbtxt for a version, which replaces the old one when the block ends without an error."""
        with replacing(self.folder / CONFIG) as temporary:
            temporary.write_text(config_pbtxt(Manifest.read(version / MANIFEST)), encoding="utf-8")
            sync(temporary)
            yield


def open_repository(models: Path | None) -> Repository:
    """The repository in a folder; without a folder, the bundled one."""
    return Repository(BUNDLED if models is None else models)


def _numbers(folder: Path, prefix: str = "") -> list[int]:
    """The version numbers of the folders here whose names start with the prefix, ascending."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.glob(f"{prefix}*") if entry.is_dir())
    tails = (name.removeprefix(prefix) for name in names)
    return sorted(int(tail) for tail in tails if tail.isascii() and tail.isdecimal() and tail == str(int(tail)))


def _remove_if_unlocked(left: Path) -> None:
    try:
        with locked(left, wait=False):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    except OSError:
        return  # an export is filling it, or it belongs to another user
