"""The reports of the benchmarks that are a table: of exported runs, scoring, training, and of two builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.report.section import Section
from digits.report.number_format import percent
from digits.report.table import Table

if TYPE_CHECKING:
    from pathlib import Path


def export_section(result: dict[str, Any], _folder: Path) -> Section:
    """A table for each model: every way there is to run it."""
    tables, text = [], []
    for model in result["models"]:
        sizes = list(next(iter(model["times"].values())))
        head = ["", *(f"us an image of {size}" for size in sizes), *(f"times fp32 at {size}" for size in sizes)]
        rows = [
            [
                f"{model['recipe']}: {name}",
                *(f"{times[size]['microseconds_per_image']:,.1f}" for size in sizes),
                *(_spread(times[size]) for size in sizes),
            ]
            for name, times in model["times"].items()
        ]
        tables.append(Table(head, rows))
    text.append("On one thread, in turn; in brackets the quartiles of the rounds' ratios.")
    return Section("Variants of exported runs, beside Keras and OpenVINO", result, text, tables)


def _spread(times: dict[str, float]) -> str:
    return f"{times['times_as_fast']:.3g} ({times['lower_quartile']:.3g} to {times['upper_quartile']:.3g})"


def score_section(result: dict[str, Any], _folder: Path) -> Section:
    head = ["round", "scored a second", "decoded alone a second", "share", "accuracy of pictures", "of arrays"]
    rows = [
        [
            str(number),
            f"{one['scored_per_second']:,.0f}",
            f"{one['decoded_per_second']:,.0f}",
            f"{one['scored_per_second'] / one['decoded_per_second']:.0%}",
            percent(one["accuracy"]["pictures"]),
            percent(one["accuracy"]["arrays"]),
        ]
        for number, one in enumerate(result["rounds"], 1)
    ]
    many = result["rows"]
    text = (
        f"{result['settings']['pictures']:,} PNG files to their table, beside Pillow decoding them and nothing else. "
        f"{many['count']:,} rows of an `.npz` took {many['seconds']:.0f} s, all processes {many['peak_mb']:.0f} MB. "
        f"The import of the client took {result['import_ratio']:.2f} times that of numpy and grpc."
    )
    return Section("Scoring pictures", result, [text], [Table(head, rows)])


def training_section(result: dict[str, Any], _folder: Path) -> Section:
    ways = list(result["mean_test_accuracy"])
    head = ["seed", *(f"{way}, s" for way in ways), "ratio", *(f"{way}, test accuracy" for way in ways)]
    rows = [
        [
            str(pair["seed"]),
            *(f"{pair[way]['seconds']:.1f}" for way in ways),
            f"{pair['ratio']:.2f}",
            *(percent(pair[way]["test_accuracy"]) for way in ways),
        ]
        for pair in result["pairs"]
    ]
    return Section("The training loop beside model.fit", result, [], [Table(head, rows)])


def compare_section(result: dict[str, Any], _folder: Path) -> Section:
    """Of two builds; two files are an indication, and no result."""
    findings = result["findings"]
    head = ("load", "of B more than of A", "percent", "interval", "slower")
    rows = [
        [
            one["load"],
            one["measure"],
            f"{one['percent']:+.1f}",
            " to ".join(f"{end:+.1f}" for end in one["interval"]),
            "yes" if one["slower"] else "no",
        ]
        for one in findings.get("differences", [])
    ]
    if findings.get("indicative"):
        text = "Two files, from different times, were compared by their ratios to the echo: an indication, no more."
        return Section("One result beside another", result, [text])
    names = result["builds"]
    text = f"A is {names['A']}, B is {names['B']}; {result['repeats']} pairs, in turn."
    return Section("One build beside another", result, [text], [Table(head, rows, 2)])
