"""SHA256SUMS: proof that a folder holds the files that were published, unchanged."""

from __future__ import annotations

from pathlib import Path

from digits.model.errors import RepositoryError
from digits.storage.checksums import file_sha256

CHECKSUMS = "SHA256SUMS"
MEND = "export it again"
DIGITS_OF_SHA256 = 64


def write_checksums(folder: Path) -> None:
    """Writes SHA256SUMS of every other file, as sha256sum(1) does."""
    (folder / CHECKSUMS).write_bytes(_checksums(folder))


def check_checksums(folder: Path) -> None:
    """Raises RepositoryError unless the folder holds exactly the files that SHA256SUMS names, unchanged."""
    try:
        published, present = (folder / CHECKSUMS).read_bytes(), _checksums(folder)
    except OSError as error:
        what = f"{error.strerror}: {Path(error.filename).name}" if error.filename else str(error)
        raise RepositoryError(f"{folder}: no version's folder, or a damaged one ({what})") from error
    if published == present:
        return
    then, now = _by_name(published), _by_name(present)
    if any(len(digest) != DIGITS_OF_SHA256 for digest in then.values()):
        raise RepositoryError(f"{folder / CHECKSUMS}: damaged; {MEND}")
    if missing := sorted(then.keys() - now.keys()):
        raise RepositoryError(f"{folder}: damaged, {missing[0]} is missing; {MEND}")
    if unknown := sorted(now.keys() - then.keys()):
        raise RepositoryError(f"{folder}: {unknown[0]} was not published with it; remove it")
    for name, digest in now.items():
        if then[name] != digest:
            raise RepositoryError(f"{folder / name}: damaged, its SHA-256 is not the published one; {MEND}")
    raise RepositoryError(f"{folder / CHECKSUMS}: damaged; {MEND}")


def _checksums(folder: Path) -> bytes:
    """The lines of sha256sum(1); a folder within the folder, which is not ours, has no checksum."""
    paths = (path for path in sorted(folder.iterdir()) if path.name != CHECKSUMS)
    return "".join(f"{file_sha256(path) if path.is_file() else '-'}  {path.name}\n" for path in paths).encode()


def _by_name(checksums: bytes) -> dict[str, str]:
    lines = checksums.decode(errors="backslashreplace").split("\n")
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines if line)}
