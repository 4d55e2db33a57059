"""`--labels`: files of labels as people have them, and which row a label is for."""

import re
from pathlib import Path

import pytest

from digits.score.errors import ScoreError
from digits.score.labels import labels


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("head", ["path,label", "Path;LABEL", "split\tpath\tLabel", " label , path"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_is_read_as_spreadsheets_write_it(here: Path, head: str, newline: str, mark: str) -> None:
    separator = next(mark for mark in ",;\t" if mark in head)
    columns = [name.strip().lower() for name in head.split(separator)]
    rows = [{"split": "test", "path": path, "label": label} for path, label in (("7/a.png", " 7 "), ("b.png", "3"))]
    lines = [head, *(separator.join(row[name] for name in columns) for row in rows)]
    (here / "truth.csv").write_bytes("".join(f"{line}{newline}" for line in [mark + lines[0], *lines[1:]]).encode())
    of = labels("truth.csv").of
    assert [of(0, path) for path in ("scans/7/a.png", "b.png", "c.png")] == [7, 3, None]


@pytest.mark.parametrize("given", ["a.png", "./a.png", "x/../a.png", "{here}/a.png", "../{name}/a.png", '"a.png"'])
def test_absolute_and_relative_paths_are_the_same_file(here: Path, given: str) -> None:
    (here / "truth.csv").write_text(f"path,label\n{given.format(here=here, name=here.name)},7\n")
    of = labels("truth.csv").of
    for path in ("a.png", "./a.png", f"{here}/a.png", f"{here}//a.png", "x/../a.png"):
        assert of(0, path) == 7
    assert of(0, "b.png") is None


def test_the_longest_path_counts_and_a_name_that_is_not_utf8_is_also_what_the_table_writes(here: Path) -> None:
    (here / "truth.csv").write_bytes(b"path,label\na.png,1\n7/a.png,7\n\xff.png,4\nb/\\xff.png,5\n")
    of = labels("truth.csv").of
    paths = ("scans/a.png", "scans/7/a.png", "17/a.png", "scans/\udcff.png", "scans/b/\udcff.png")
    assert [of(0, path) for path in paths] == [1, 7, 1, 4, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,label\n./a.png,7\n{here}/a.png,8\n",
            "line 2 labels './a.png' as 7, line 3 labels '{here}/a.png' as 8",
        ),
        ("file,label\na.png,7\n", "its columns are file, label; expected path and label"),
        ("", "its columns are none; expected path and label"),
        ("path,label\na.png,\n", "it has no label"),
        ("label,path\n7\n", "line 2 has the label 7 and no path"),
        ('path,label\n"' + "a" * 200_000 + '",7\n', "field larger than field limit (131072)"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said(here: Path, content: str, message: str) -> None:
    (here / "truth.csv").write_text(content.format(here=here))
    said = f"--labels truth.csv: {message.format(here=here)}; say from-folder"
    with pytest.raises(ScoreError, match=re.escape(said)):
        labels("truth.csv")
