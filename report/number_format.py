"""Numbers as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def percent(share: float) -> str:
    """A share from 0 to 1, with two decimals: 97.93 %."""
    return f"{share * 100:.2f} %"


def comma_list(values: Iterable[object]) -> str:
    """A list as the command line takes it: 512,256."""
    return ",".join(map(str, values))


def plain(value: object) -> str:
    """A setting as a reader wants to see it: a dash for none, yes or no, a list with commas."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(plain, value)) if isinstance(value, list | tuple) else str(value)
