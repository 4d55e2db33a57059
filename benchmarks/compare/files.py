"""Two files of `digits bench server`, from different times: each server's ratio to the echo of its own file.

The echo accounts for the speed of the machine, but not for its fluctuations: the result is indicative. Only closed
loops are compared, since the rate of the open loop is given. The JSON's measurements have a repeat for each file, with
its ratios to the echo; `findings` says what was not compared, and why.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

from digits.benchmarks.compare.verdict import CPU, RATE, WORDS, compare_section
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import load_text
from digits.benchmarks.measurement import measuring
from digits.benchmarks.settings import ECHO, CompareBenchmarkSettings

Medians = Mapping["Key", Mapping[str, float]]

MEASURES = (RATE, CPU)


class Key(NamedTuple):
    """A measurement to find in both files."""

    server: str
    load: str  # as JSON
    text: str  # the load in a few words

    @property
    def echo(self) -> Self:
        return self._replace(server=ECHO)


def run(a: Path, b: Path, settings: CompareBenchmarkSettings) -> None:
    """Prints a table of what is in both.

    Raises:
        BenchmarkError: one of them is not such a file, or nothing is in both.
    """
    both = _medians(a), _medians(b)
    keys = [key for key in both[0] | both[1] if key.server != ECHO]
    common = [key for key in keys if all(key in file and key.echo in file for file in both)]
    if not common:
        raise BenchmarkError(f"{a} and {b} have no load in common under which the echo was measured too")
    with measuring("compare", settings) as result:
        table: list[list[str]] = []
        for key in common:
            ratios = [_ratios(key, file) for file in both]
            result.repeats(key.server, json.loads(key.load)).extend(ratios)
            table += [_row(key, name, *ratios) for name in ratios[0] if name in ratios[1]]
        left_out = [_left_out(key, *both) for key in keys if key not in common]
        result.findings.update({"indicative": True, "ratios": table, "left_out": left_out})
    result.show(compare_section)


def _medians(file: Path) -> dict[Key, dict[str, float]]:
    """Of the closed loops. Raises BenchmarkError if the file is not from `digits bench server`."""
    repeats: dict[Key, list[Mapping[str, float]]] = {}
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["benchmark"] != "server":
            raise BenchmarkError(
                f"{file}: from `digits bench {result['benchmark']}`; give one of `digits bench server`"
            )
        for row in result["measurements"]:
            load = row["load"]
            if load["loop"] == "closed" and row["repeats"]:
                key = Key(row["system"], json.dumps(load, sort_keys=True), load_text(load))
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
    return f"{why}: {key.server}: {key.text}"


def _ratios(key: Key, medians: Medians) -> dict[str, float]:
    """To the echo, of what both of them have."""
    ours, echo = medians[key], medians[key.echo]
    return {name: round(ours[name] / echo[name], 4) for name in ours if echo.get(name)}


def _row(key: Key, name: str, a: Mapping[str, float], b: Mapping[str, float]) -> list[str]:
    change = f"{(b[name] / a[name] - 1) * 100:+.1f} %" if a[name] else ""
    return [key.server, key.text, WORDS[name][-1], f"{a[name]:.3f}", f"{b[name]:.3f}", change]
