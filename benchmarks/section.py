"""A benchmark's results for people: the terminal, the Markdown and the page are made from the same section."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from digits.benchmarks.errors import BenchmarkError
from digits.report.figure import png
from digits.report.page import render
from digits.report.table import Table
from digits.storage.atomic_file import write_bytes
from digits.storage.text import one_line

Row = dict[str, Any]  # a measurement of the JSON
Repeats = Sequence[Mapping[str, Any]]

TEMPLATES = Path(__file__).with_name("sections")
FIGURE = re.compile(r"!\[(?P<alt>.*)\]\((?P<name>.*)\)(?P<caption>(?s:.*))")


class Drawing(NamedTuple):
    """A figure, which is written next to STEM.json as STEM-NAME.png."""

    name: str
    alt: str
    caption: str
    draw: Callable[[], Any] | None  # a Figure of matplotlib; None if only the benchmark itself could draw it


class Section(NamedTuple):
    """The results of one benchmark."""

    title: str  # the question that it answers
    result: dict[str, Any]  # its JSON, whose head says how it was measured
    text: list[str]  # paragraphs
    tables: list[Table]
    drawings: list[Drawing]

    @property
    def source(self) -> str:
        """Where the numbers come from, in a sentence."""
        result, machine = self.result, self.result["machine"]
        versions = result["versions"]
        used = [f"{name} {versions[name]}" for name in ("python", "onnxruntime", "numpy") if name in versions]
        whole = "" if result["complete"] else f" Ended early by: {result['ended_by']}."
        commit = f", commit {result['commit']}" if result["commit"] else ""
        int8 = f" ({', '.join(machine['int8'])})" if machine.get("int8") else ""
        where = f"{machine['cores']} cores of {machine['cpu']}{int8}, {machine['system']}"
        return f"On {where}; {', '.join(used)}; {result['finished'][:10]}{commit}.{whole}"

    def show(self, out: Path) -> None:
        """Prints the tables, and draws the figures next to the JSON file. Raises BenchmarkError if that fails."""
        for drawing in self.drawings:
            if drawing.draw:
                write_figure(out, drawing.name, drawing.draw())
        print("", *(table.text() for table in self.tables), *self.text, sep="\n\n", flush=True)


def section(result: dict[str, Any], figures: Mapping[str, Callable[[], Any]] = {}, **values: object) -> Section:
    """The section that the benchmark's template in sections/ makes of its JSON and more values.

    The template is Markdown: a title, paragraphs, tables, of which those without rows are left out, and figures with
    their captions; `figures` draw them by their names.
    """
    rows = result["measurements"]
    given = {"result": result, "rows": rows, "findings": result.get("findings", {}), **values}
    given |= {"zip": zip, "mean": mean, "median": median, "median_of": median_of, "ratios": ratios}
    given |= {"quotients": lambda repeats, over, under: [one[over] / one[under] for one in repeats]}
    given["repeats"] = lambda system, **load: repeats_of(rows, system, **load)
    markdown = render(TEMPLATES / f"{result['benchmark']}.md.jinja", **given, figures=figures)
    title, *blocks = [block.strip() for block in markdown.split("\n\n") if block.strip()]
    tables = [Table.of_markdown(block) for block in blocks if block.startswith("|")]
    text = [" ".join(block.split()) for block in blocks if block[0] not in "|!"]
    drawings = [
        Drawing(found["name"], found["alt"], " ".join(found["caption"].split()), figures.get(found["name"]))
        for block in blocks
        if (found := FIGURE.fullmatch(block))
    ]
    return Section(title.removeprefix("# "), result, text, [one for one in tables if one.rows], drawings)


def repeats_of(rows: Sequence[Row], system: str, **load: object) -> list[dict[str, Any]]:
    """The repeats of a system under the loads that have these values; empty if it was not measured."""
    found = [row for row in rows if row["system"] == system and load.items() <= row["load"].items()]
    return [repeat for row in found for repeat in row["repeats"]]


def ratios(ours: Repeats, theirs: Repeats, measure: str) -> list[float]:
    """Ours over theirs, by round; rounds in which theirs is 0 are left out."""
    return [own[measure] / other[measure] for own, other in zip(ours, theirs, strict=False) if other[measure]]


def median_of(repeats: Repeats, measure: str) -> float:
    return float(median(repeat[measure] for repeat in repeats))


def write_figure(out: Path, name: str, figure: Any) -> bytes:
    """Writes a figure of the results in STEM.json as STEM-NAME.png. Raises BenchmarkError if it cannot be written."""
    file, content = out.with_name(f"{out.stem}-{name}.png"), png(figure)
    try:
        write_bytes(file, content)
    except OSError as error:
        raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"drawn: {one_line(file)}", flush=True)
    return content
