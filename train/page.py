"""One HTML page that holds all it shows: it asks for nothing outside itself, and may not."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from digits.train.figures import DPI

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STYLE = """
:root { color-scheme: light; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #fff;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .5rem 0 1rem; max-width: 44rem; }
strong.headline { color: var(--accent); font-size: 2.4rem; line-height: 1.1; font-weight: 650; }
figure { margin: 1rem 0; }
figcaption { color: var(--faint); font-size: .9rem; max-width: 42rem; margin-top: .4rem; }
img { display: block; max-width: 100%; height: auto; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem 1.25rem .3rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } tbody th { font-weight: 400; color: var(--faint); white-space: nowrap; }
td { overflow-wrap: anywhere; }
.numbers td, th.number { text-align: right; white-space: nowrap; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""


def page(title: str, body: str) -> str:
    """An HTML document; the title is text, the body is HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{body}
</body>
</html>
"""


def figure_tag(png: bytes, alt: str, caption: str) -> str:
    """A PNG in the page itself, in its size on paper; `alt` and `caption` are text."""
    width, height = (int.from_bytes(png[at : at + 4]) * 96 // DPI for at in (16, 20))  # from IHDR, its first chunk
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = f'<img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}">'
    return f"<figure>\n{image}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def facts(rows: Mapping[str, object]) -> str:
    """A table of names and what they stand for."""
    body = "".join(f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>" for name, value in rows.items())
    return f"<div class='scroll'><table><tbody>{body}</tbody></table></div>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], names: int = 1) -> str:
    """A table of numbers under a head; the first `names` of each row are text."""
    kinds = ["name"] * names + ["number"] * (len(head) - names)
    columns = zip(kinds, head, strict=True)
    heads = "".join(f"<th scope='col' class='{kind}'>{escape(name)}</th>" for kind, name in columns)
    tags = ["th"] * names + ["td"] * (len(head) - names)
    body = "".join(f"<tr>{''.join(map(_cell, tags, row))}</tr>" for row in rows)
    return (
        f"<div class='scroll'><table class='numbers'><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, value: object) -> str:
    scope = " scope='row'" if tag == "th" else ""
    return f"<{tag}{scope}>{escape(_shown(value))}</{tag}>"


def _shown(value: object) -> str:
    """A setting, a number or a name as a reader wants to see it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)
