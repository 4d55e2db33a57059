"""HTML pages and Markdown from Jinja2 templates. A page contains everything it shows, and loads nothing.

A template of a page extends `page.jinja`, which has the title and the style, and fills its block `body`. The macros in
`parts.jinja` show a figure, a `report.table.Table` and a table of facts. All values are escaped.
Those of Markdown, in *.md.jinja, are not.
"""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError, select_autoescape

from digits.report.figure import DPI
from digits.report.number_format import percent, plain
from digits.report.table import cell

MissingValueError = UndefinedError  # of a value that a template needs
TEMPLATES = Path(__file__).parent
CSS_DPI = 96  # pixels of CSS in an inch


def render(template: Path, **values: object) -> str:
    """The HTML page that a template gives with these values, among them `title`; or Markdown.

    The template can include and extend the templates in its own folder and in this package by their names. Its filters
    are those of Jinja2, `percent`, `plain`, `thousands` (1,000), `number` (by a format of Python's), `cell` (of a table
    in Markdown), and of a PNG `data_url` and `css_size`.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=select_autoescape(disabled_extensions=["md.jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "plain": plain, "thousands": "{:,}".format}
    environment.filters |= {"number": format, "cell": cell}
    environment.filters |= {"data_url": data_url, "css_size": css_size}
    return environment.get_template(template.name).render(values)


def data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def css_size(png: bytes) -> tuple[int, int]:
    """Width and height in CSS pixels: a figure is as large on the page as matplotlib drew it."""
    width, height = (int.from_bytes(png[at : at + 4]) * CSS_DPI // DPI for at in (16, 20))  # from IHDR, the first chunk
    return width, height
