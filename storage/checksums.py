"""SHA-256 checksums of files, alone and as the list that sha256sum(1) writes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as sha256sum(1) writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_list(files: Mapping[str, Path]) -> bytes:
    """A line of sha256sum(1) for each file, ordered by name. What is not a file has `-` in place of a checksum."""
    lines = (f"{file_sha256(path) if path.is_file() else '-'}  {name}\n" for name, path in sorted(files.items()))
    return "".join(lines).encode(errors="surrogateescape")
