"""Where a result comes from: the machine it was made on and the versions that made it."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from digits.storage.cores import usable_cores

PACKAGES = (
    "digits",
    "keras",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorflow-cpu",
    "tf2onnx",
)


def provenance() -> dict[str, Any]:
    """Machine and versions, for the JSON of a run, a manifest or a benchmark."""
    return {
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "cpu": _cpu_name(),
            "cores": usable_cores(),
        },
        "versions": {"python": platform.python_version(), **dict(_versions())},
    }


def now() -> str:
    """The time of day, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
