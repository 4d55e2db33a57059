"""Names with any character in them: as rows of a CSV, and on one line."""

from __future__ import annotations

import csv
import io
import os

import pandas as pd
import pyarrow as pa
import pyarrow.csv
from hypothesis import example, given
from hypothesis import strategies as st

from digits.storage.text import csv_writer, one_line, readable

# What a file system allows: any bytes but NUL, of which those that are not UTF-8 become surrogates. Most names here
# have characters that a reader of CSV could take for its own.
PIECES = st.sampled_from([*"\r\n\"',;\t \\#\u2028\x85\ufeffa", "\r\n"])
NAMES = st.lists(PIECES | st.binary(min_size=1, max_size=4).map(lambda some: os.fsdecode(some.replace(b"\0", b""))))


def text(names: list[str]) -> str:
    file = io.StringIO(newline="")
    csv_writer(file).writerows([["path", "digit"], *([readable(name), str(i)] for i, name in enumerate(names))])
    return file.getvalue()


@given(st.lists(NAMES.map("".join), min_size=1, max_size=5))
@example(["a\rb.png", "\r", "c\n", "", " spaces ", "NA", "nan", "\udcff"])
def test_any_name_comes_back_from_a_csv(names: list[str]) -> None:
    """By Python's own reader, pandas and pyarrow."""
    written, rows = text(names), [[readable(name), str(number)] for number, name in enumerate(names)]
    assert list(csv.reader(io.StringIO(written, newline=""))) == [["path", "digit"], *rows]
    assert pd.read_csv(io.StringIO(written, newline=""), dtype=str, keep_default_na=False).to_numpy().tolist() == rows
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("path", "digit"), pa.string()))
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    read = pyarrow.csv.read_csv(io.BytesIO(written.encode()), parse_options=parsing, convert_options=options)
    assert [list(row.values()) for row in read.to_pylist()] == rows


def test_every_line_break_is_quoted_whatever_the_version_of_python() -> None:
    """Python 3.11.9, 3.12.3 and later quote it anyway."""
    assert text(["a\rb", "c\nd", "e"]) == 'path,digit\n"a\rb",0\n"c\nd",1\ne,2\n'


@given(NAMES.map("".join) | st.text())
@example("\ud800")
@example("a\u202egnp.exe")
def test_any_name_is_printed_on_one_line(name: str) -> None:
    shown = one_line(name)
    assert shown.isprintable()
    assert len(f"{shown}.".splitlines()) == 1
    assert shown == name or not name.isprintable()
    shown.encode()
