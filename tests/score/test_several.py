"""`digits score --several`: a row for each digit of a picture, with its box."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from digits.client.local import LocalClassifier
from digits.images.mnist import Mnist
from digits.score import scoring
from digits.score.errors import ScoreError
from digits.score.settings import ScoreSettings

ROWS = ["4172", "364"]
PLACE = ["row", "left", "top", "right", "bottom"]


def score(*paths: object, out: Path, **settings: Any) -> list[str]:
    """Scores in this process; gives the lines of the summary."""
    said: list[str] = []
    done = settings.pop("done", lambda: None)
    chosen: dict[str, Any] = {"precision": "fp32", "processes": 1, "several": True} | settings
    scoring.score(map(str, paths), ScoreSettings(out=out, **chosen), said.append, done)
    return said


def table(out: Path) -> list[dict[str, str]]:
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pages(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of digits; one digit of MNIST; a blank picture; a text; digits that touch; an archive with the rows."""
    folder = tmp_path_factory.mktemp("pages")
    page = Image.new("L", (400, 220), 235)
    for y, row in enumerate(ROWS):
        for x, label in enumerate(row):
            digit = data.x_test[int((data.y_test == int(label)).argmax())]
            page.paste(40, (20 + 90 * x, 20 + 90 * y), Image.fromarray(digit).resize((84, 84)))
    page.save(folder / "a.png")
    Image.fromarray(data.x_test[0]).save(folder / "b.png")
    Image.new("L", (100, 100), 200).save(folder / "c.png")
    (folder / "d.png").write_text("not a picture")
    page.paste(40, (20, 110, 250, 170))
    page.save(folder / "e.png")
    content = io.BytesIO()
    page.save(content, "TIFF")
    with zipfile.ZipFile(folder / "f.zip", "w") as archive:
        archive.write(folder / "a.png", "a.png")
        archive.writestr("b.tif", content.getvalue())
    return folder


def test_every_digit_is_a_row_with_its_place(pages: Path, data: Mnist, tmp_path: Path) -> None:
    said = score(pages, out=tmp_path / "t.csv", probabilities=True)
    found = table(tmp_path / "t.csv")
    classifier = LocalClassifier(precision="fp32")
    for name in ("a.png", "f.zip/a.png"):
        rows = [row for row in found if row["path"] == f"{pages}/{name}"]
        read = classifier.read(pages / "a.png").digits
        assert "".join(row["digit"] for row in rows) == "".join(ROWS)
        assert [[int(row[column]) for column in PLACE] for row in rows] == [[one.row, *one.box] for one in read]
        assert [np.float32(row["confidence"]) for row in rows] == [np.float32(one.confidence) for one in read]
        assert all(row[f"p{row['digit']}"] == row["confidence"] for row in rows)
    others = {Path(row["path"]).name: row for row in found if not row["path"].endswith("a.png")}
    assert (others["b.png"]["digit"], others["b.png"]["right"]) == (str(data.y_test[0]), "28")
    assert {name: others[name]["status"] for name in ("c.png", "d.png", "b.tif")} == {
        "c.png": "blank",
        "d.png": "unreadable",
        "b.tif": "unreadable",
    }
    assert not any(others["c.png"][column] for column in ("digit", "confidence", *PLACE))
    touching = [row for row in found if row["status"] == "several"]
    assert [row["error"] for row in touching] == ["digits that touch, and no clear cut between them"]
    assert touching[0]["digit"] == ""
    assert int(touching[0]["right"]) - int(touching[0]["left"]) > 200
    assert said[0].startswith(f"{tmp_path}/t.csv: {len(found)} rows, ")


def test_the_formats_hold_the_same_and_arrays_have_no_place(pages: Path, data: Mnist, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", data.x_test[:3])
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        score(pages / "a.png", tmp_path / "x.npy", out=tmp_path / name)
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    rows, columns = table(tmp_path / "t.csv"), pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(rows) == 7 + 3
    for row, line, column in zip(rows, lines, columns, strict=True):
        assert [row[name] for name in PLACE] == ["" if line[name] is None else str(line[name]) for name in PLACE]
        assert [line[name] for name in (*PLACE, "digit")] == [column[name] for name in (*PLACE, "digit")]
    assert [line["row"] for line in lines] == [1, 1, 1, 1, 2, 2, 2, None, None, None]


def test_finished_rows_are_kept_and_the_same_call_goes_on(pages: Path, tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    out = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt) as caught:
        score(pages, out=out, done=interrupted)
    assert caught.value.__notes__ == ["the rows of 7 pictures are kept; the same command goes on from there"]
    whole = out.read_bytes()
    out.unlink()
    said = score(pages, out=out, contact_sheet=tmp_path / "sheet.png")
    assert " rows (7 were there already), 0 a second" in said[0]
    assert out.read_bytes() == whole
    assert (tmp_path / "sheet.png").exists()


def test_a_server_gives_the_same_table(pages: Path, models: Path, serving: Any, tmp_path: Path) -> None:
    score(pages, out=tmp_path / "here.csv", models=models, precision="int8")
    with serving("--models", models, "--precision", "int8") as server:
        score(pages, out=tmp_path / "there.csv", server=server.address)
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


def test_labels_are_of_pictures_with_one_digit(pages: Path, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match=r"leave out --labels or --several$"):
        score(pages, out=tmp_path / "t.csv", labels="from-folder")
