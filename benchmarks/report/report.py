"""The report: README.md with its figures, and one page that contains all of it, from the benchmarks' JSON files."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from digits.benchmarks.compare.verdict import compare_section
from digits.benchmarks.engine.report import engine_section
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.parity.report import parity_section
from digits.benchmarks.peers.report import peers_section
from digits.benchmarks.section import Section
from digits.benchmarks.server.report import server_section
from digits.benchmarks.settings import ReportBenchmarkSettings
from digits.benchmarks.tables import export_section, score_section, training_section
from digits.report.figure import png
from digits.report.page import render
from digits.storage.atomic_file import write_bytes

SECTIONS: dict[str, Callable[[dict[str, Any]], Section]] = {
    "parity": parity_section,
    "engine": engine_section,
    "server": server_section,
    "peers": peers_section,
    "export": export_section,
    "score": score_section,
    "training": training_section,
    "compare": compare_section,
}
TEMPLATE = Path(__file__).with_name("report.jinja")
TITLE = "What was measured"
INTRODUCTION = (
    "Made by `digits bench report` from the JSON files of the benchmarks. Each part names its command, the machine and "
    "the versions. Times differ between machines: only ratios within one run count."
)


class Figure(NamedTuple):
    """A figure as PNG, with the name of its file in the folder of the results."""

    file: str
    content: bytes
    alt: str
    caption: str


Part = tuple[Section, list[Figure]]


def run(settings: ReportBenchmarkSettings) -> None:
    """Writes the figures and report.html to the folder of the results, and README.md there or where the settings say.

    Raises:
        BenchmarkError: there is no result, one is not a benchmark's JSON, or something cannot be written.
    """
    folder, readme = settings.results, settings.readme or settings.results / "README.md"
    parts = [_part(name, result, folder) for name, result in results(folder).items()]
    files = {folder / figure.file: figure.content for _, figures in parts for figure in figures}
    files[folder / "report.html"] = render(TEMPLATE, title=TITLE, introduction=INTRODUCTION, parts=parts).encode()
    files[readme] = markdown(parts, Path(os.path.relpath(folder, readme.parent))).encode()
    for file, content in files.items():
        try:
            write_bytes(file, content)
        except OSError as error:
            raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"report: {readme}, {folder / 'report.html'}, {len(files) - 2} figures", flush=True)


def _part(name: str, result: dict[str, Any], folder: Path) -> Part:
    try:
        section = SECTIONS[name](result)
        figures = [Figure(f"{name}-{one.name}.png", png(one.draw()), one.alt, one.caption) for one in section.drawings]
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        what = f"lacks what `digits bench {name}` writes ({type(error).__name__}: {error})"
        raise BenchmarkError(f"{folder / name}.json: {what}; measure it again") from error
    for kept, (alt, caption) in section.kept.items():
        file = folder / f"{name}-{kept}.png"
        if file.exists():
            figures.append(Figure(file.name, file.read_bytes(), alt, caption))
    return section, figures


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The benchmarks' JSON by name, in the report's order; if one is not complete, what was kept when it ended early.

    Raises:
        BenchmarkError: there are no results, or one is damaged.
    """
    found = {}
    for name in SECTIONS:
        whole, partial = folder / f"{name}.json", folder / f"{name}.partial.json"
        file = partial if partial.exists() and not whole.exists() else whole
        if file.exists():
            found[name] = read(file)
    if not found:
        names = ", ".join(f"{name}.json" for name in SECTIONS)
        raise BenchmarkError(f"{folder}: has no result of a benchmark ({names}); run `digits bench server` first")
    return found


def read(file: Path) -> dict[str, Any]:
    """A benchmark's JSON. Raises BenchmarkError if the file is something else."""
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if result["schema"] != 1:
            raise BenchmarkError(f"{file}: schema {result['schema']}; this program reads 1")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{file}: is not a result of a benchmark ({type(error).__name__}: {error})") from error
    return result


def markdown(parts: list[Part], figures: Path) -> str:
    """The report as Markdown; `figures` is the folder of the figures, relative to the file."""
    texts = [f"# {TITLE}\n\n{INTRODUCTION}\n"]
    for section, drawn in parts:
        texts.append(f"\n## {section.title}\n\n`{section.result['command']}`\n\n{section.source}\n")
        texts += [f"\n{text}\n" for text in section.text]
        texts += [f"\n{table.markdown()}\n" for table in section.tables]
        texts += [f"\n![{one.alt}]({figures / one.file})\n\n{one.caption}\n" for one in drawn]
    return "".join(texts)
