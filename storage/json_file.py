"""JSON files, in which a number that is not finite is null."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from digits.storage.atomic_file import write_bytes


def write_json(path: Path, value: object) -> None:
    write_bytes(path, json_bytes(value))


def json_bytes(value: object) -> bytes:
    """JSON, in which a number that is not finite is null."""
    return (json.dumps(_finite(value), indent=2, default=str, allow_nan=False) + "\n").encode()


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
