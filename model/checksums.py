"""SHA256SUMS: shows that a folder holds exactly the files that were published, unchanged."""

from pathlib import Path

from digits.model.errors import RepositoryError
from digits.storage.atomic_file import write_bytes
from digits.storage.checksums import sha256_list

CHECKSUMS = "SHA256SUMS"
REMEDY = "export it again"
SHA256_LENGTH = 64  # hexadecimal digits


def write_checksums(folder: Path) -> None:
    """Writes SHA256SUMS of all other files in the folder, in the format of sha256sum(1)."""
    write_bytes(folder / CHECKSUMS, _checksums(folder))


def check_checksums(folder: Path) -> None:
    """Raises RepositoryError unless the folder holds exactly the files that SHA256SUMS names, unchanged."""
    try:
        published, present = (folder / CHECKSUMS).read_bytes(), _checksums(folder)
    except OSError as error:
        what = f"{error.strerror}: {Path(error.filename).name}" if error.filename else str(error)
        raise RepositoryError(f"{folder}: not a version's folder, or a damaged one ({what})") from error
    if published == present:
        return
    then, now = _by_name(published), _by_name(present)
    if any(len(checksum) != SHA256_LENGTH for checksum in then.values()):
        raise RepositoryError(f"{folder / CHECKSUMS}: damaged; {REMEDY}")
    if missing := sorted(then.keys() - now.keys()):
        raise RepositoryError(f"{folder}: damaged, {missing[0]} is missing; {REMEDY}")
    if unknown := sorted(now.keys() - then.keys()):
        raise RepositoryError(f"{folder}: {unknown[0]} was not published with it; remove it")
    for name, checksum in now.items():
        if then[name] != checksum:
            raise RepositoryError(f"{folder / name}: damaged, its SHA-256 is not the published one; {REMEDY}")
    raise RepositoryError(f"{folder / CHECKSUMS}: damaged; {REMEDY}")


def _checksums(folder: Path) -> bytes:
    return sha256_list({path.name: path for path in folder.iterdir() if path.name != CHECKSUMS})


def _by_name(checksums: bytes) -> dict[str, str]:
    lines = checksums.decode(errors="backslashreplace").split("\n")
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines if line)}
