"""Pages: everything is escaped and inside the page; tables for terminal, Markdown and HTML."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from digits.report.figure import png
from digits.report.number_format import comma_list, percent, plain
from digits.report.page import MissingValueError, css_size, render
from digits.report.table import Table

HOSTILE = "<script>alert('1')</script>&\""
TEMPLATE = """{% extends "page.jinja" %}
{% import "parts.jinja" as parts %}
{% block body %}
{{ parts.figure(figure, text, text) }}
{{ parts.facts({text: text, "list": [1, none, true]}) }}
{{ parts.table(table) }}
{% endblock %}
"""


def test_a_page_escapes_every_value_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "body.jinja").write_text(TEMPLATE)
    image = png(Figure(figsize=(3, 2)))
    table = Table((HOSTILE, HOSTILE), [(HOSTILE, HOSTILE)])
    page = render(tmp_path / "body.jinja", title=HOSTILE, figure=image, text=HOSTILE, table=table)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2 + 2 + 2 + 4
    assert 'width="288" height="192"' in page  # 3 and 2 inches
    assert css_size(image) == (288, 192)
    assert "<td>1, -, yes</td>" in page
    assert page.count("src=") == page.count('src="data:image/png;base64,') == 1
    assert "://" not in page
    with pytest.raises(MissingValueError):
        render(tmp_path / "body.jinja", title="")


def test_a_table_is_text_and_markdown() -> None:
    table = Table(("name", "n"), [("a|b", "1,000"), ("c", "1")])
    assert table.text() == "name      n\na|b   1,000\nc         1"
    assert table.markdown() == "| name | n |\n| --- | ---: |\n| a\\|b | 1,000 |\n| c | 1 |"
    assert Table.of_markdown(table.markdown()) == (["name", "n"], [["a|b", "1,000"], ["c", "1"]], 1)


def test_numbers_and_settings_read_well() -> None:
    assert percent(0.97934) == "97.93 %"
    assert comma_list((512, 256)) == "512,256"
    assert [plain(value) for value in (None, "", False, (1, None), 0.5)] == ["-", "-", "no", "1, -", "0.5"]
