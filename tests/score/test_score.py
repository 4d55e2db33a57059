"""`digits score`: any number of pictures to a table, in their order, none lost."""

import csv
import gzip
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from digits.client.local import LocalClassifier
from digits.images.mnist import Mnist
from digits.score import scoring
from digits.score.chunk import NOT_A_DIGIT, OK, UNREADABLE
from digits.score.errors import ScoreError
from digits.score.journal import Journal
from digits.score.settings import ScoreSettings

Digits = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = (sys.executable, "-m", "digits.cli.app", "score")
COUNT = 300
KEPT = "rows are kept; the same command goes on from there"


def score(*paths: object, out: Path, **settings: Any) -> list[str]:
    """Scores in this process, with the bundled model; gives the lines of the summary."""
    said: list[str] = []
    chosen: dict[str, Any] = {"precision": "fp32", "processes": 1} | settings
    scoring.score(map(str, paths), ScoreSettings(out=out, **chosen), said.append)
    return said


def rows(out: Path) -> list[dict[str, str]]:
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def begin(*paths: object, out: Path, **settings: Any) -> None:
    """Leaves a journal with all rows and no table, since labels were given that fit no row."""
    labels = out.with_name("wrong.csv")
    labels.write_text("path,label\nnowhere/a.png,3\n")
    with pytest.raises(ScoreError, match="no row has a label: nowhere"):
        score(*paths, out=out, labels=str(labels), **settings)
    assert not out.exists()
    labels.unlink()


@pytest.fixture(scope="module")
def table(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The table of these folders, and what was printed."""
    out = tmp_path_factory.mktemp("table") / "table.csv"
    return out, score(folders, out=out, labels="from-folder", probabilities=True)


def test_rows_are_in_the_order_of_the_folders_and_answer_as_the_arrays_do(
    table: tuple[Path, list[str]], folders: Path, data: Mnist
) -> None:
    """All numbers are what the raw array gets, to the last bit. A picture that is not a digit has only its novelty."""
    found = rows(table[0])
    assert [row["path"] for row in found] == sorted(map(str, folders.rglob("*.png")))
    order = [int(Path(row["path"]).stem) for row in found]
    raw = LocalClassifier(precision="fp32").classify(data.x_test[order], include_probabilities=True)
    assert raw.probabilities is not None
    assert raw.novelties is not None
    assert raw.not_a_digit is not None
    kept, labels = ~raw.not_a_digit, data.y_test[order]
    assert [row["status"] for row in found] == [OK if each else NOT_A_DIGIT for each in kept]
    assert np.array([row["novelty"] for row in found], np.float32).tobytes() == raw.novelties.tobytes()
    classified = [row for row in found if row["status"] == OK]
    assert [int(row["digit"]) for row in classified] == raw.digits[kept].tolist()
    assert np.array([row["confidence"] for row in classified], np.float32).tobytes() == raw.confidences[kept].tobytes()
    ten = np.array([[row[f"p{digit}"] for digit in range(10)] for row in classified], np.float32)
    assert ten.tobytes() == raw.probabilities[kept].tobytes()
    right = (raw.digits == labels)[kept].sum()
    assert f"accuracy    {right / kept.sum():.2%}: {right} of {kept.sum()} labelled digits" in table[1]
    assert [int(row["label"]) for row in found] == labels.tolist()


def test_the_summary_counts_and_names_the_least_certain(table: tuple[Path, list[str]]) -> None:
    found, lines = rows(table[0]), table[1]
    assert lines[0].startswith(f"{table[0]}: {COUNT} rows, ")
    classified = [row for row in found if row["status"] == OK]
    rest = COUNT - len(classified)
    assert lines[1] == f"status      {len(classified)} ok" + (f", {rest} {NOT_A_DIGIT}" if rest else "")
    assert f", {sum(row['digit'] == '7' for row in found)} x 7, " in lines[2]
    least = sorted(classified, key=lambda row: float(row["confidence"]))[:8]
    assert [line.split()[2] for line in lines[4:12]] == [row["path"] for row in least]
    confusion = [line.split() for line in lines[-10:]]
    for label, digit in ((1, 1), (4, 9)):
        count = sum(row["label"] == str(label) and row["digit"] == str(digit) for row in found)
        assert confusion[label][1 + digit] == (str(count) if count else ".")


def test_the_three_formats_hold_the_same(folders: Path, table: tuple[Path, list[str]]) -> None:
    """CSV and JSON lines have the shortest decimals that give the same float32; what is missing is empty or null."""
    files = [table[0].with_suffix(suffix) for suffix in (".jsonl", ".parquet")]
    for file in files:
        score(folders, folders / "none.png", out=file, labels="from-folder", probabilities=True)
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    columns = pq.read_table(files[1]).to_pylist()
    assert (
        lines.pop()
        == columns.pop()
        == dict.fromkeys(columns[0])
        | {"path": f"{folders}/none.png", "status": UNREADABLE, "error": "No such file or directory"}
    )
    for row, line, column in zip(rows(table[0]), lines, columns, strict=True):
        ten = [row.pop(f"p{digit}") for digit in range(10)]
        assert line["probabilities"] == ([float(value) for value in ten] if line["digit"] is not None else None)
        assert row == {name: "" if line[name] is None else str(line[name]) for name in row}
        for name in ("confidence", "novelty", "probabilities"):
            given, same = line.pop(name), column.pop(name)
            assert given == same or np.array_equal(np.float32(given), np.float32(same))
        assert list(line.items()) == list(column.items())


def test_archives_arrays_lists_and_globs_are_sources_too(
    digits: Digits, folders: Path, data: Mnist, tmp_path: Path
) -> None:
    """All of them in one command, in its order."""
    files = sorted((folders / "7").iterdir())[:3]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        for file in files:
            archive.write(file, f"sub/{file.name}")
            tar.add(file, file.name)
        archive.writestr("note.txt", "not a picture")
    np.savez_compressed(tmp_path / "c.npz", x=data.x_test[:3], y=data.y_test[:3], flat=data.x_test[3:5].reshape(2, 784))
    header = np.array([0x0803, 2, 28, 28], ">u4").tobytes()
    (tmp_path / "d-idx3-ubyte.gz").write_bytes(gzip.compress(header + data.x_test[5:7].tobytes()))
    np.save(tmp_path / "e.npy", data.x_test[7:8])
    sources = ["a.zip", "b.tar.gz", "c.npz", "d-idx3-ubyte.gz", "e.npy", "-", folders / "8" / "*.png", "c.npz/flat"]
    listed = "\0".join(map(str, files)) + "\0"
    completed = digits("score", *sources, "--out", "table.csv", "--labels", "c.npz", cwd=tmp_path, input=listed)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines()[-1] == "skipped     1 x .txt file: a.zip/note.txt"
    flat = [f"c.npz/flat/{index}" for index in range(2)]
    expected = {
        **{f"a.zip/sub/{file.name}": None for file in files},
        **{f"b.tar.gz/{file.name}": None for file in files},
        **{f"c.npz/x/{index}": label for index, label in enumerate(data.y_test[:3])},
        **dict.fromkeys([*flat, "d-idx3-ubyte.gz/0", "d-idx3-ubyte.gz/1", "e.npy/0", *map(str, files)]),
        **dict.fromkeys(sorted(map(str, (folders / "8").iterdir()))),
    }
    found = rows(tmp_path / "table.csv")
    assert [row["path"] for row in found] == [*expected, *flat]
    assert [row["label"] for row in found[:-2]] == ["" if label is None else str(label) for label in expected.values()]
    assert {row["status"] for row in found} == {OK}
    answers = [row["digit"] for row in found]
    assert answers[:3] == answers[3:6] == answers[14:17]
    assert answers[6:14] == [str(digit) for digit in LocalClassifier().classify(data.x_test[:8]).digits]


REASONS = {
    "a.png": "a folder with the name of a picture",
    "blank.png": "blank",
    "bomb.zip/bomb.png": "unpacks to 67,108,865 bytes",
    "bomb.zip/inner.zip": "an archive in an archive",
    "cut.png": "cut short",
    "cut.tar": "the rest of the archive cannot be read",
    "empty.png": "not a picture",
    "fifo.png": "named pipe",
    "texts.npz": "<U1 [2, 28, 28]; expected",
    "huge.png": "too large",
    "link.png": "a broken link",
    "links.tar/passwd.png": "a link",
    "cut.tar/passwd.png": "a link",
    "loop": "a link to a folder that it is in",
    "secret.png": "Permission denied",
    "text.png": "not a picture",
}
GOOD = {"good.png", "a.png/inner.png", "bomb.zip/../../outside.png", "links.tar//absolute.png", "new\n\rline\\xff.png"}


@pytest.fixture
def hostile(folders: Path, tmp_path: Path) -> None:
    """A folder with everything that can be wrong with a file, and good ones."""
    top = tmp_path / "hostile"
    (top / "a.png").mkdir(parents=True)
    good = next((folders / "5").iterdir()).read_bytes()
    contents = {"good.png": good, "a.png/inner.png": good, "secret.png": good, "new\n\rline\udcff.png": good}
    contents |= {"empty.png": b"", "cut.png": good[:-40], "text.png": b"not a picture\n"}
    for name, content in contents.items():
        (top / name).write_bytes(content)
    (top / "secret.png").chmod(0)
    Image.new("1", (30_000, 1_000)).save(top / "huge.png")
    Image.new("L", (200, 200), 200).save(top / "blank.png")
    os.mkfifo(top / "fifo.png")
    (top / "link.png").symlink_to("nowhere")
    (top / "loop").symlink_to(top)
    with zipfile.ZipFile(top / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("bomb.png", bytes(2**26 + 1)), ("inner.zip", b"PK"), ("../../outside.png", good)):
            archive.writestr(name, content)
    with tarfile.open(top / "links.tar", "w") as tar:
        link, absolute = tarfile.TarInfo("passwd.png"), tarfile.TarInfo("/absolute.png")
        link.type, link.linkname, absolute.size = tarfile.SYMTYPE, "/etc/passwd", len(good)
        tar.addfile(link)
        tar.addfile(absolute, io.BytesIO(good))
    (top / "cut.tar").write_bytes((top / "links.tar").read_bytes()[:700])
    np.savez(top / "texts.npz", x=np.full((2, 28, 28), "0"))


@pytest.mark.usefixtures("hostile")
def test_every_file_that_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path) -> None:
    """Run as a user who has no more rights than others: root may read everything."""
    before = {*tmp_path.rglob("*")}
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    command = [*unprivileged, *COMMAND, "hostile", "--processes", "1", "--out", "table.csv", "--strict"]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert completed.returncode == 1, completed.stderr
    found = {row["path"].removeprefix("hostile/"): row for row in rows(tmp_path / "table.csv")}
    assert {path for path, row in found.items() if row["status"] == OK} == GOOD
    assert found.keys() - GOOD == REASONS.keys()
    for path, reason in REASONS.items():
        assert reason in found[path]["error"], found[path]
        assert found[path]["digit"] == found[path]["confidence"] == ""
        assert found[path]["status"] == ("blank" if path == "blank.png" else UNREADABLE)
    assert len({found[path]["digit"] for path in GOOD}) == 1
    assert {*tmp_path.rglob("*")} == before | {tmp_path / "table.csv"}, "an archive has written outside of itself"
    assert all(len(line) < 250 for line in completed.stdout.splitlines())


def test_strict_fails_on_what_is_skipped_but_not_on_files_of_its_own(
    digits: Digits, folders: Path, tmp_path: Path
) -> None:
    """The files that a scoring writes or reads are not inputs: neither its own nor those that a killed one left."""
    (tmp_path / "a.png").write_bytes(next((folders / "4").iterdir()).read_bytes())
    (tmp_path / "truth.csv").write_text("path,label\na.png,4\n")
    for name in ("t.csv", "sheet.png", "sheet.png.unfinished"):
        (tmp_path / name).touch()
    files = ("--out", "t.csv", "--overwrite", "--contact-sheet", "sheet.png", "--labels", "truth.csv")
    completed = digits("score", ".", *files, "--strict", cwd=tmp_path)
    assert completed.returncode == 0, completed.stdout
    assert [row["path"] for row in rows(tmp_path / "t.csv")] == ["./a.png"]
    (tmp_path / ".DS_Store").touch()
    for strict in (["--strict"], []):
        completed = digits("score", ".", *files, *strict, cwd=tmp_path)
        assert completed.returncode == len(strict)
        assert completed.stdout.splitlines()[-1] == "skipped     1 x hidden file: ./.DS_Store"


def test_an_existing_table_is_not_overwritten_unless_told_nor_written_by_two(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    out.write_text("precious")
    with pytest.raises(ScoreError, match=f"^{out} exists; give another --out, or replace it with --overwrite$"):
        score(folders / "1", out=out)
    assert out.read_text() == "precious"
    score(folders / "1", out=out, overwrite=True)
    assert out.read_text().startswith("path,digit")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    with Journal(tmp_path / "table.csv.journal"), pytest.raises(ScoreError, match="another scoring writes it; give"):
        score(folders, out=out)


@pytest.mark.parametrize(
    ("paths", "settings", "message"),
    [
        ((), {"out": Path("t.csv")}, "nothing to score; say `digits score PATH... --out table.csv`"),
        (("x",), {}, "where to? say --out table.csv (or .jsonl, .parquet)"),
        (("x",), {"out": Path("table.xls")}, "--out table.xls: a table ends in .csv, .jsonl, .parquet"),
        (("x",), {"out": Path("no/table.csv")}, "--out no/table.csv: the folder no does not exist"),
        (("-", "-"), {"out": Path("t.csv")}, "the standard input can be read once; say - once"),
        (("--ouch",), {"out": Path("t.csv")}, "unknown option --ouch; see digits score --help"),
        (
            ("x",),
            {"out": Path("t.csv"), "labels": "y"},
            "--labels y: No such file or directory; say from-folder",
        ),
    ],
)
def test_a_scoring_that_cannot_begin_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScoreError, match=f"^{re.escape(message)}"):
        scoring.score(paths, ScoreSettings(**settings))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def listed(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A list of pictures and of 1,500 missing files, more than are in flight at first; its table."""
    paths = [*sorted(map(str, folders.rglob("*.png"))), *[f"{folders}/no-more.png"] * 1500]
    out = tmp_path_factory.mktemp("whole") / "whole.csv"
    score(*paths, out=out)
    assert [row["path"] for row in rows(out)] == paths
    return "".join(f"{path}\n" for path in paths), out


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_finished_rows_are_kept_and_the_same_command_goes_on(
    digits: Digits, listed: tuple[str, Path], tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    """The list is kept open until the journal has rows, and the signal is sent then."""
    arguments = ("-", "--out", str(tmp_path / "table.csv"), "--precision", "fp32", "--processes", "1")
    wal = tmp_path / "table.csv.journal-wal"
    with subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(listed[0])
        process.stdin.flush()
        while process.poll() is None and not (wal.exists() and wal.stat().st_size > 150_000):
            os.sched_yield()
        process.send_signal(stop)
        process.stdin.close()
        assert process.wait(timeout=60) == code
        assert (KEPT in process.stderr.read()) == (stop != signal.SIGKILL)
    assert not (tmp_path / "table.csv").exists()
    completed = digits("score", *arguments, input=listed[0])
    assert completed.returncode == 0, completed.stderr
    assert " were there already), " in completed.stdout
    assert (tmp_path / "table.csv").read_bytes() == listed[1].read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_inputs_that_have_changed_are_scored_again_by_the_same_model_and_settings(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.csv"
    begin(folders / "3", folders / "5", out=out)
    assert f"{KEPT}\n" in capsys.readouterr().err
    with pytest.raises(ScoreError, match="the table was begun with other settings: probabilities was 'False' and is"):
        score(folders / "4", out=out, probabilities=True)
    files = sorted(map(str, (folders / "4").iterdir()))
    begin(folders / "4", out=out)
    assert "the inputs have changed from row 1 on" in capsys.readouterr().err
    said = score(folders / "4", out=out, precision="auto")  # fp32, as it was
    assert re.match(
        rf"{re.escape(str(out))}: {len(files)} rows \({len(files)} were there already\), 0 a second$", said[0]
    )
    assert [row["path"] for row in rows(out)] == files


def test_a_full_disk_is_one_line_and_loses_nothing(digits: Digits, folders: Path, tmp_path: Path) -> None:
    """Files cannot grow beyond 150 KB: the journal fails first. With space again, the same command goes on."""
    arguments = ["score", *[folders] * 8, "--out", tmp_path / "table.csv"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    completed = digits(*arguments, preexec_fn=limit)
    assert completed.returncode == 1
    kept, error = completed.stderr.splitlines()
    assert KEPT in kept
    assert error.startswith(f"digits: {tmp_path}/table.csv.journal: disk I/O error; is there space left")
    said = score(*[folders] * 8, out=tmp_path / "table.csv", precision="auto", processes=0)
    assert " were there already), " in said[0]
    assert len(rows(tmp_path / "table.csv")) == 8 * COUNT


def test_the_contact_sheet_shows_the_least_certain_as_the_model_gets_them(folders: Path, tmp_path: Path) -> None:
    sheet, out = tmp_path / "sheet.png", tmp_path / "table.csv"
    score(folders, out=out, contact_sheet=sheet)
    least = min(rows(out), key=lambda row: float(row["confidence"] or 1))
    with Image.open(sheet) as picture, Image.open(least["path"]) as digit:
        tile = picture.crop((10, 44, 10 + 112, 44 + 112)).convert("L")
        assert np.array_equal(np.asarray(tile)[::4, ::4], np.asarray(digit))
        assert picture.size == (10 * 122 + 10, 6 * 156 + 44)


def test_blank_arrays_are_rows_and_an_empty_input_gives_an_empty_table(data: Mnist, tmp_path: Path) -> None:
    pixels = data.x_test[:3].copy()
    pixels[1] = 0
    np.save(tmp_path / "three.npy", pixels)
    score(tmp_path / "three.npy", out=tmp_path / "t.csv")
    assert [row["status"] for row in rows(tmp_path / "t.csv")] == [OK, "blank", OK]
    folder, out = tmp_path / "folder", tmp_path / "table.csv"
    folder.mkdir()
    (folder / "note.txt").touch()
    nothing = "status      nothing to score: no picture, archive or array by its name"
    assert score(folder, out=out)[-2:] == [nothing, f"skipped     1 x .txt file: {folder}/note.txt"]
    assert out.read_text() == "path,digit,confidence,novelty,status,error\n"
