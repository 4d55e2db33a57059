"""How many CPU cores this process may use: its affinity, and the CPU quotas of its cgroups."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PARTS = ("quota", "period")
CONTROLLERS = {"cgroup": "cpu", "cgroup2": ""}  # what /proc/self/cgroup calls the hierarchy of each file system


def usable_cores(root: Path = Path("/")) -> int:
    """How many cores this process may use: those of its affinity, or fewer if a cgroup's CPU quota allows fewer.

    A quota is rounded up, as in Java and Go: two processes use all of 1.5 cores, and one uses all of 0.5.

    Args:
        root: The folder that contains proc/ and sys/.
    """
    return min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in _quotas(root))])


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas, in cores, that bound this process. A container's quota may be at any level above it."""
    for folder in _cgroups(root):
        try:
            if (file := folder / "cpu.max").exists():
                quota, period = file.read_text(encoding="ascii").split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in PARTS)
            if quota != "max" and int(quota) > 0:  # version 1 writes -1 for no quota
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):  # the CPU controller is not enabled here
            continue


def _cgroups(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroups and of those that contain them, as far as they are mounted."""
    try:
        mounts, cgroups = (
            (root / "proc/self" / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            for name in ("mountinfo", "cgroup")
        )
    except OSError:
        return  # no /proc
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        *_, top, point = before.split()[:5]
        kind, *_, options = after.split()
        controller = CONTROLLERS.get(kind)
        if controller is None or (controller and controller not in options.split(",")):
            continue
        for cgroup in cgroups:
            _, controllers, path = cgroup.split(":", 2)
            if controller in controllers.split(","):
                inside = Path(path).relative_to(top) if Path(path).is_relative_to(top) else Path()
                folder = root / point.lstrip("/") / inside
                yield from [folder, *folder.parents][: len(inside.parts) + 1]
