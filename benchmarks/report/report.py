"""The report: README.md with its figures, and one page that holds all of it, from the JSON files of the benchmarks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.report.engine import engine_section
from digits.benchmarks.report.others import compare_section, export_section, score_section, training_section
from digits.benchmarks.report.parity import parity_section
from digits.benchmarks.report.peers import peers_section
from digits.benchmarks.report.server import server_section
from digits.report.page import render
from digits.storage.atomic_file import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.benchmarks.report.section import Section
    from digits.benchmarks.settings import ReportBenchmarkSettings

SECTIONS: dict[str, Callable[[dict[str, Any], Path], Section]] = {
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
    "Made by `digits bench report` from the JSON files of the benchmarks. Each part names the command that made it, "
    "the machine and the versions. Times on another machine are others: what counts is how those of one run compare."
)


def run(settings: ReportBenchmarkSettings) -> None:
    """Writes the figures and report.html beside the results, and README.md there or where it is told to.

    Raises:
        BenchmarkError: there is no result, one is no benchmark's JSON, or something cannot be written.
    """
    folder, readme = settings.results, settings.readme or settings.results / "README.md"
    sections = [_section(name, result, folder) for name, result in results(folder).items()]
    files = {folder / one.file: one.content for section in sections for one in section.drawings}
    page = render(TEMPLATE, title=TITLE, introduction=INTRODUCTION, sections=sections)
    files[folder / "report.html"] = page.encode()
    files[readme] = markdown(sections, Path(os.path.relpath(folder, readme.parent))).encode()
    for file, content in files.items():
        try:
            write_bytes(file, content)
        except OSError as error:
            raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"report: {readme}, {folder / 'report.html'}, {len(files) - 2} figures", flush=True)


def _section(name: str, result: dict[str, Any], folder: Path) -> Section:
    try:
        return SECTIONS[name](result, folder)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        what = f"lacks what `digits bench {name}` writes ({type(error).__name__}: {error})"
        raise BenchmarkError(f"{folder / name}.json: {what}; measure it again") from error


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The benchmarks' JSON by name, in the report's order.

    Raises:
        BenchmarkError: there is none, or one is damaged.
    """
    files = {name: _file(folder, name) for name in SECTIONS}
    found = {name: read(file) for name, file in files.items() if file.exists()}
    if not found:
        names = ", ".join(f"{name}.json" for name in SECTIONS)
        raise BenchmarkError(f"{folder}: holds no result of a benchmark ({names}); say `digits bench server` first")
    return found


def _file(folder: Path, name: str) -> Path:
    """A benchmark's, or where there is none what was kept of one that was ended too early."""
    whole, partial = folder / f"{name}.json", folder / f"{name}.partial.json"
    return partial if partial.exists() and not whole.exists() else whole


def read(file: Path) -> dict[str, Any]:
    """A benchmark's JSON. Raises BenchmarkError if the file is none."""
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if result["schema"] != 1:
            raise BenchmarkError(f"{file}: schema {result['schema']}; this program reads 1")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{file}: is no result of a benchmark ({type(error).__name__}: {error})") from error
    return result


def markdown(sections: list[Section], figures: Path) -> str:
    """The report as Markdown; `figures` is the figures' folder as seen from where it will lie."""
    parts = [f"# {TITLE}\n\n{INTRODUCTION}\n"]
    for section in sections:
        parts.append(f"\n## {section.title}\n\n`{section.result['command']}`\n\n{section.source}\n")
        parts += [f"\n{text}\n" for text in section.text]
        parts += [f"\n{one.markdown()}\n" for one in section.tables]
        parts += [f"\n![{one.alt}]({figures / one.file})\n\n{one.caption}\n" for one in section.drawings]
    return "".join(parts)
