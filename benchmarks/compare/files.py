"""Two files of `digits bench server`, from different times: each server's ratio to the echo of its own file.

The echo accounts for the speed of the machine, but not for its fluctuations: the result is indicative. Only closed
loops are compared, since the rate of the open loop is given. The JSON's measurements have a repeat for each file, with
its ratios to the echo; `findings` says what was not compared, and why.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

from digits.benchmarks.compare.verdict import WORDS, compare_section
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import load_text
from digits.benchmarks.measurement import measuring
from digits.benchmarks.settings import ECHO, CompareBenchmarkSettings

Medians = dict[tuple[str, str], dict[str, float]]  # by server, and load as JSON: by measure


def run(a: Path, b: Path, settings: CompareBenchmarkSettings) -> None:
    """Prints a table of what is in both.

    Raises BenchmarkError if one of them is not such a file, or nothing is in both.
    """
    both = [_ratios(_medians(file)) for file in (a, b)]
    keys = list(both[0] | both[1])
    common = [key for key in keys if all(both[i].get(key) for i in (0, 1))]
    if not common:
        raise BenchmarkError(f"{a} and {b} have no load in common under which the echo was measured too")
    with measuring("compare", settings) as result:
        table = []
        for server, as_json in common:
            load, ratios = json.loads(as_json), [each[server, as_json] for each in both]
            result.repeats(server, load).extend(ratios)
            for name in (name for name in WORDS if all(name in each for each in ratios)):
                one, other = (each[name] for each in ratios)
                change = f"{(other / one - 1) * 100:+.1f} %" if one else ""
                table.append([server, load_text(load), WORDS[name][-1], f"{one:.3f}", f"{other:.3f}", change])
        left_out = []
        for server, as_json in (key for key in keys if key not in common):
            inside = [name for name, each in zip("AB", both, strict=True) if (server, as_json) in each]
            why = "without an echo" if len(inside) > 1 else f"only in {inside[0]}"
            left_out.append(f"{why}: {server}: {load_text(json.loads(as_json))}")
        result.findings.update({"indicative": True, "ratios": table, "left_out": left_out})
    result.show(compare_section)


def _medians(file: Path) -> Medians:
    """Of the closed loops. Raises BenchmarkError if the file is not from `digits bench server`."""
    repeats: dict[tuple[str, str], list[dict[str, Any]]] = {}
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if (name := result["benchmark"]) != "server":
            raise BenchmarkError(f"{file}: from `digits bench {name}`; give one of `digits bench server`")
        for row in result["measurements"]:
            if row["load"]["loop"] == "closed" and row["repeats"] and load_text(row["load"]):
                repeats.setdefault((row["system"], json.dumps(row["load"], sort_keys=True)), []).extend(row["repeats"])
        return {
            key: {name: median(one[name] for one in seen) for name in WORDS if all(name in one for one in seen)}
            for key, seen in repeats.items()
        }
    except OSError as error:
        raise BenchmarkError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{file}: not a file of `digits bench server` ({error})") from error


def _ratios(medians: Medians) -> Medians:
    """Each server's over the echo's, of what both of them have; empty where the echo is missing."""
    found: Medians = {}
    for (server, load), ours in medians.items():
        if server != ECHO:
            echo = medians.get((ECHO, load), {})
            found[server, load] = {name: round(ours[name] / echo[name], 4) for name in ours if echo.get(name)}
    return found
