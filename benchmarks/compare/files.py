"""Two files of `digits bench server`, from different times: what each server reached, by its ratio to the echo then.

The echo takes the machine's own speed out of it, not its moods: what comes of it is indicative. Closed loops alone are
compared, since the open loop's rate is what was asked for. The JSON's measurements have a repeat for each file, with
its ratios to the echo; `findings` says what was not compared, and why.
"""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.measurement import measurement, measuring
from digits.benchmarks.server.table import words
from digits.benchmarks.settings import ECHO
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from digits.benchmarks.settings import CompareBenchmarkSettings

    Medians = Mapping["Key", Mapping[str, float]]

MEASURES = {"calls_per_second": "calls a second", "cpu_us": "processor time a call"}
HEAD = ("server", "load", "over the echo's", "A", "B", "B has more by")
INDICATIVE = "indicative: two files are from different times; give two builds, which are measured in turn, to be sure"


class Key(NamedTuple):
    """What is looked for in both files."""

    server: str
    load: str  # as JSON
    words: str  # the load in a few words

    @property
    def echo(self) -> Key:
        return self._replace(server=ECHO)


def run(a: Path, b: Path, settings: CompareBenchmarkSettings) -> None:
    """Prints a table of what is in both.

    Raises:
        BenchmarkError: one of them is no such file, or nothing is in both.
    """
    files = _medians(a), _medians(b)
    keys = [key for key in files[0] | files[1] if key.server != ECHO]
    both = [key for key in keys if all(key in file and key.echo in file for file in files)]
    if not both:
        raise BenchmarkError(f"{a} and {b} have no load in common under which the echo was measured too")
    left_out = [_left_out(key, *files) for key in keys if key not in both]
    head = measurement("compare", settings) | {"findings": {"indicative": True, "left_out": left_out}}
    rows = []
    with measuring(head, settings.out) as measurements:
        for key in both:
            ratios = [_ratios(key, file) for file in files]
            measurements.append({"subject": key.server, "load": json.loads(key.load), "repeats": ratios})
            rows += [_row(key, name, *ratios) for name in ratios[0] if name in ratios[1]]
    print("\n".join(["", Table(HEAD, rows, 3).text(), "", *left_out, INDICATIVE]), flush=True)


def _medians(file: Path) -> dict[Key, dict[str, float]]:
    """Of the closed loops. Raises BenchmarkError if the file is none of `digits bench server`."""
    repeats: dict[Key, list[Mapping[str, float]]] = {}
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["benchmark"] != "server":
            raise BenchmarkError(f"{file}: of `digits bench {result['benchmark']}`; give one of `digits bench server`")
        for row in result["measurements"]:
            load = row["load"]
            if load["loop"] == "closed" and row["repeats"]:
                key = Key(row["subject"], json.dumps(load, sort_keys=True), words(load))
                repeats.setdefault(key, []).extend(row["repeats"])
        return {
            key: {name: median(one[name] for one in seen) for name in MEASURES if all(name in one for one in seen)}
            for key, seen in repeats.items()
        }
    except OSError as error:
        raise BenchmarkError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{file}: not a file of `digits bench server` ({error})") from error


def _left_out(key: Key, a: Medians, b: Medians) -> str:
    why = "without an echo" if key in a and key in b else f"only in {'A' if key in a else 'B'}"
    return f"{why}: {key.server}: {key.words}"


def _ratios(key: Key, medians: Medians) -> dict[str, float]:
    """To the echo, by what both of them have."""
    ours, echo = medians[key], medians[key.echo]
    return {name: round(ours[name] / echo[name], 4) for name in ours if echo.get(name)}


def _row(key: Key, name: str, a: Mapping[str, float], b: Mapping[str, float]) -> tuple[str, ...]:
    change = f"{(b[name] / a[name] - 1) * 100:+.1f} %" if a[name] else ""
    return key.server, key.words, MEASURES[name], f"{a[name]:.3f}", f"{b[name]:.3f}", change
