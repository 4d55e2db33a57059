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
from digits.benchmarks.section import Section, section
from digits.benchmarks.server.report import server_section
from digits.benchmarks.settings import ReportBenchmarkSettings
from digits.report.figure import png
from digits.report.page import MissingValueError, render
from digits.storage.atomic_file import write_bytes

SECTIONS: dict[str, Callable[[dict[str, Any]], Section]] = {
    "parity": parity_section,
    "engine": engine_section,
    "server": server_section,
    "peers": peers_section,
    "export": section,
    "score": section,
    "training": section,
    "compare": compare_section,
}
HERE = Path(__file__).parent
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


def run(settings: ReportBenchmarkSettings) -> None:
    """Writes the figures and report.html to the folder of the results, and README.md there or where the settings say.

    Raises BenchmarkError if there is no result, one is not a benchmark's JSON, or something cannot be written.
    """
    folder, readme = settings.results, settings.readme or settings.results / "README.md"
    parts = [_part(name, result, folder) for name, result in results(folder).items()]
    files = {folder / figure.file: figure.content for _, figures in parts for figure in figures}
    values: dict[str, Any] = {"title": TITLE, "introduction": INTRODUCTION, "parts": parts}
    relative = Path(os.path.relpath(folder, readme.parent))
    files[folder / "report.html"] = render(HERE / "report.jinja", **values).encode()
    files[readme] = render(HERE / "report.md.jinja", **values, folder=relative).encode()
    for file, content in files.items():
        try:
            write_bytes(file, content)
        except OSError as error:
            raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"report: {readme}, {folder / 'report.html'}, {len(files) - 2} figures", flush=True)


def _part(name: str, result: dict[str, Any], folder: Path) -> tuple[Section, list[Figure]]:
    figures = []
    try:
        part = SECTIONS[name](result)
        for one in part.drawings:
            file = folder / f"{name}-{one.name}.png"
            if one.draw or file.exists():
                content = png(one.draw()) if one.draw else file.read_bytes()
                figures.append(Figure(file.name, content, one.alt, one.caption))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, MissingValueError) as error:
        what = f"lacks what `digits bench {name}` writes ({type(error).__name__}: {error})"
        raise BenchmarkError(f"{folder / name}.json: {what}; measure it again") from error
    return part, figures


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The benchmarks' JSON by name, in the report's order; if one is not complete, what was kept when it ended early.

    Raises BenchmarkError if there are no results, or one is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in SECTIONS:
        kept = [file for end in ("", ".partial") if (file := folder / f"{name}{end}.json").exists()]
        for file in kept[:1]:
            try:
                found[name] = json.loads(file.read_text(encoding="utf-8"))
                if found[name]["schema"] != 1:
                    raise BenchmarkError(f"{file}: schema {found[name]['schema']}; this program reads 1")
            except (OSError, ValueError, KeyError, TypeError) as error:
                what = f"is not a result of a benchmark ({type(error).__name__}: {error})"
                raise BenchmarkError(f"{file}: {what}") from error
    if not found:
        names = ", ".join(f"{name}.json" for name in SECTIONS)
        raise BenchmarkError(f"{folder}: has no result of a benchmark ({names}); run `digits bench server` first")
    return found
