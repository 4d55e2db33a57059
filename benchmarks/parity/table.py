"""The comparison in words: a line for each measurement, and a table of those in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.report.number_format import percent
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = ("variant", "images", "max |dp|", "mean |dp|", "Keras's digit", "95 % interval", "right", "Keras", "McNemar p")


def in_words(one: dict[str, Any]) -> str:
    """A measurement in a line."""
    load = one["load"]
    if why := one.get("not_served"):
        return f"{one['subject']} is not served on this CPU: {why}"
    if load["where"] == "server":
        what = f"{one['subject']} over {load['transport']}, {load['call']} of {load['count']:,} images"
        return f"{what}: {one['disagrees'] or 'the same bytes as in process'}"
    numbers = one["repeats"][0]
    found = (
        f"max |dp| {numbers['max_abs_diff']:.1e}, Keras's digit {numbers['same_digit']:,} of {load['count']:,} times"
    )
    return f"{one['subject']}, {load['images']}: {one['disagrees'] or found}"


def parity_table(measurements: Sequence[dict[str, Any]]) -> str:
    """A line for each variant and kind of images."""
    return Table(HEAD, table_rows(measurements), 2).text()


def table_rows(measurements: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The cells of the measurements in process, below HEAD."""
    return [_row(one) for one in measurements if one["load"]["where"] == "in process"]


def _row(one: dict[str, Any]) -> list[str]:
    load, numbers = one["load"], one["repeats"][0]
    low, high = map(percent, one["agreement_95"])
    right = ["", "", ""]
    if "mcnemar" in one:
        right = [f"{numbers['correct']:,}", f"{numbers['keras_correct']:,}", f"{one['mcnemar']['p']:.2g}"]
    return [
        one["subject"],
        load["images"],
        f"{numbers['max_abs_diff']:.1e}",
        f"{numbers['mean_abs_diff']:.1e}",
        f"{numbers['same_digit']:,} of {load['count']:,}",
        f"{low} to {high}",
        *right,
    ]
