"""`digits score`: any number of pictures to a table, in their order, none lost."""

from __future__ import annotations

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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from digits.client.local import LocalClassifier
from digits.score.chunk import OK, UNREADABLE
from digits.score.decoding import CRASHED, Decoders

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = (sys.executable, "-m", "digits.cli.app", "score")
COUNT = 300


@pytest.fixture(scope="module")
def folders(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 300 test digits as PNG files, each in the folder of its label."""
    top = tmp_path_factory.mktemp("scans") / "scans"
    for index, (digit, label) in enumerate(zip(data.x_test[:COUNT], data.y_test[:COUNT], strict=True)):
        folder = top / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digit).save(folder / f"{index:04}.png")
    return top


@pytest.fixture(scope="module")
def score(digits: Digits, models: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `digits score` with the tests' model, which it chooses by itself only where the test does not."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        where = () if "--server" in arguments else ("--models", models, "--precision", "int8")
        return digits("score", *arguments, "--processes", 1, *where, **options)

    return run


@pytest.fixture(scope="module")
def table(score: Digits, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The table of these folders, and what was printed."""
    out = tmp_path_factory.mktemp("table") / "table.csv"
    completed = score(folders, "--out", out, "--labels", "from-folder", "--probabilities")
    assert completed.returncode == 0, completed.stderr
    return out, completed.stdout


def rows(out: Path) -> list[dict[str, str]]:
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_in_the_order_of_the_folders_and_answer_as_the_arrays_do(
    table: tuple[Path, str], folders: Path, data: Mnist, models: Path
) -> None:
    """Every digit and every probability is what the raw array gets, to the last bit."""
    found = rows(table[0])
    assert [row["path"] for row in found] == sorted(map(str, folders.rglob("*.png")))
    order = [int(Path(row["path"]).stem) for row in found]
    raw = LocalClassifier(models, precision="int8").classify(data.x_test[order], include_probabilities=True)
    assert raw.probabilities is not None
    assert [int(row["digit"]) for row in found] == raw.digits.tolist()
    assert np.array([row["confidence"] for row in found], np.float32).tobytes() == raw.confidences.tobytes()
    ten = np.array([[row[f"p{digit}"] for digit in range(10)] for row in found], np.float32)
    assert ten.tobytes() == raw.probabilities.tobytes()
    assert {row["status"] for row in found} == {OK}
    right = (raw.digits == data.y_test[order]).sum()
    assert f"accuracy    {right / COUNT:.2%}: {right} of {COUNT} labelled digits" in table[1]
    assert [int(row["label"]) for row in found] == data.y_test[order].tolist()


def test_the_summary_counts_and_names_the_least_certain(table: tuple[Path, str]) -> None:
    found, lines = rows(table[0]), table[1].splitlines()
    assert lines[0].startswith(f"{table[0]}: {COUNT} rows, ")
    assert lines[1] == f"status      {COUNT} ok"
    sevens = sum(row["digit"] == "7" for row in found)
    assert f", {sevens} x 7, " in lines[2]
    least = sorted(found, key=lambda row: float(row["confidence"]))[:8]
    assert [line.split()[2] for line in lines[4:12]] == [row["path"] for row in least]
    confusion = [line.split() for line in lines[-10:]]
    for label, digit in ((1, 1), (4, 9)):
        count = sum(row["label"] == str(label) and row["digit"] == str(digit) for row in found)
        assert confusion[label][1 + digit] == (str(count) if count else ".")


def test_the_three_formats_hold_the_same(score: Digits, folders: Path, table: tuple[Path, str]) -> None:
    for suffix in ("jsonl", "parquet"):
        out = table[0].with_suffix(f".{suffix}")
        completed = score(folders, "--out", out, "--labels", "from-folder", "--probabilities")
        assert completed.returncode == 0, completed.stderr
    lines = [json.loads(line) for line in table[0].with_suffix(".jsonl").read_text().splitlines()]
    columns = pq.read_table(table[0].with_suffix(".parquet")).to_pylist()
    for row, line, column in zip(rows(table[0]), lines, columns, strict=True):
        assert (
            list(line) == list(column) == ["path", "digit", "confidence", "probabilities", "status", "error", "label"]
        )
        assert row["path"] == line["path"] == column["path"]
        assert int(row["digit"]) == line["digit"] == column["digit"]
        assert int(row["label"]) == line["label"] == column["label"]
        assert float(row["confidence"]) == line["confidence"]
        assert np.float32(line["confidence"]) == np.float32(column["confidence"])
        assert [float(row[f"p{digit}"]) for digit in range(10)] == line["probabilities"]
        assert np.array_equal(np.float32(line["probabilities"]), np.float32(column["probabilities"]))
        assert (row["error"], line["error"], column["error"]) == ("", None, None)


def test_archives_arrays_lists_and_globs_are_sources_too(
    score: Digits, folders: Path, data: Mnist, tmp_path: Path
) -> None:
    """All of them in one call, in its order."""
    files = sorted((folders / "7").iterdir())[:5]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in files:
            archive.write(file, f"sub/{file.name}")
        archive.writestr("note.txt", "no picture")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        for file in reversed(files):
            tar.add(file, file.name)
    np.savez_compressed(tmp_path / "c.npz", x=data.x_test[:3], y=data.y_test[:3], flat=data.x_test[3:5].reshape(2, 784))
    header = np.array([0x0803, 2, 28, 28], ">u4").tobytes()
    (tmp_path / "d-idx3-ubyte.gz").write_bytes(gzip.compress(header + data.x_test[5:7].tobytes()))
    np.save(tmp_path / "e.npy", data.x_test[7:8])
    listed = "\0".join(map(str, files[:2])) + "\0"
    pattern = folders / "8" / "*.png"
    sources = ["a.zip", "b.tar.gz", "c.npz", "d-idx3-ubyte.gz", "e.npy", "-", pattern, "c.npz/flat"]
    completed = score(*sources, "--out", "table.csv", "--labels", "c.npz", cwd=tmp_path, input=listed)
    assert completed.returncode == 0, completed.stderr
    found = rows(tmp_path / "table.csv")
    assert [row["path"] for row in found] == [
        *(f"a.zip/sub/{file.name}" for file in files),
        *(f"b.tar.gz/{file.name}" for file in reversed(files)),
        *(f"c.npz/x/{index}" for index in range(3)),
        *(f"c.npz/flat/{index}" for index in range(2)),
        *(f"d-idx3-ubyte.gz/{index}" for index in range(2)),
        "e.npy/0",
        *map(str, files[:2]),
        *sorted(map(str, (folders / "8").iterdir())),
        *(f"c.npz/flat/{index}" for index in range(2)),
    ]
    assert {row["status"] for row in found} == {OK}
    digits = [row["digit"] for row in found]
    assert digits[:5] == digits[9:4:-1]
    assert digits[:2] == digits[18:20]
    assert digits[13:15] == digits[-2:]
    assert [row["label"] for row in found[10:13]] == [str(label) for label in data.y_test[:3]]
    assert completed.stdout.splitlines()[-1] == "skipped     1 x .txt file: a.zip/note.txt"


def test_labels_come_from_a_csv_by_the_end_of_the_path(score: Digits, folders: Path, tmp_path: Path) -> None:
    files = sorted((folders / "3").iterdir())[:3]
    (tmp_path / "truth.csv").write_text(f"path,label\n3/{files[0].name},3\n{files[1]},8\n")
    completed = score(*files, "--out", tmp_path / "t.csv", "--labels", tmp_path / "truth.csv")
    assert completed.returncode == 0, completed.stderr
    assert [row["label"] for row in rows(tmp_path / "t.csv")] == ["3", "8", ""]
    (tmp_path / "truth.csv").write_text("path,label\na.png,ten\n")
    completed = score(*files, "--out", tmp_path / "u.csv", "--labels", tmp_path / "truth.csv")
    assert completed.returncode == 1
    assert "line 2 has the label 'ten'; expected 0 to 9" in completed.stderr


def test_a_list_and_labels_from_windows_and_labels_that_fit_no_row(
    score: Digits, folders: Path, tmp_path: Path
) -> None:
    """Where no label fits, the answers are kept: with the right labels the table is there at once."""
    files = sorted((folders / "3").iterdir())[:3]
    listed = "\ufeff" + "".join(f"{file}\r\n" for file in files)
    arguments = ("-", "--out", tmp_path / "t.csv", "--labels", tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_text("\ufeffPath;Label\r\nnowhere/a.png;3\r\n")
    completed = score(*arguments, input=listed)
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1] == (
        f"digits: --labels {tmp_path}/truth.csv: no row has a label: nowhere/a.png has one, a row is {files[0]}"
    )
    assert not (tmp_path / "t.csv").exists()
    (tmp_path / "truth.csv").write_text("".join(["\ufeffPath;Label\r\n", *(f"{file};3\r\n" for file in files[:2])]))
    completed = score(*arguments, input=listed)
    assert completed.returncode == 0, completed.stderr
    assert "t.csv: 3 rows (3 were there already), 0 a second\n" in completed.stdout
    assert [(row["path"], row["label"]) for row in rows(tmp_path / "t.csv")] == [
        (str(file), label) for file, label in zip(files, ("3", "3", ""), strict=True)
    ]


@pytest.fixture
def hostile(folders: Path, tmp_path: Path) -> Path:
    """A folder with everything that can be wrong with a file, and two good ones."""
    top = tmp_path / "hostile"
    top.mkdir()
    good = next((folders / "5").iterdir()).read_bytes()
    (top / "good.png").write_bytes(good)
    (top / "a.png").mkdir()
    (top / "a.png" / "inner.png").write_bytes(good)
    (top / "empty.png").touch()
    (top / "cut.png").write_bytes(good[:-40])
    (top / "text.png").write_text("not a picture\n")
    Image.new("1", (30_000, 30_000)).save(top / "huge.png")
    Image.new("L", (200, 200), 200).save(top / "blank.png")
    os.mkfifo(top / "fifo.png")
    (top / "link.png").symlink_to("nowhere")
    (top / "loop").symlink_to(top)
    (top / "secret.png").write_bytes(good)
    (top / "secret.png").chmod(0)
    Path(os.fsdecode(os.fsencode(top) + b"/new\n\rline\xff.png")).write_bytes(good)
    with zipfile.ZipFile(top / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(2**27))
        archive.writestr("inner.zip", b"PK")
        archive.writestr("../../outside.png", good)
    with tarfile.open(top / "links.tar", "w") as tar:
        link = tarfile.TarInfo("passwd.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        info = tarfile.TarInfo("/absolute.png")
        info.size = len(good)
        tar.addfile(info, io.BytesIO(good))
    (top / "cut.tar").write_bytes((top / "links.tar").read_bytes()[:700])
    np.savez(top / "texts.npz", x=np.full((2, 28, 28), "0"))
    return top


@pytest.mark.usefixtures("hostile")
def test_whatever_is_wrong_with_a_file_is_its_row(models: Path, tmp_path: Path) -> None:
    """Run as a user who has no more rights than others: root may read everything."""
    before = {file: file.lstat().st_size for file in tmp_path.rglob("*")}
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    command = [
        str(part)
        for part in (*unprivileged, *COMMAND, "hostile", "--models", models, "--precision", "int8", "--processes", "1")
    ]
    completed = subprocess.run(
        [*command, "--out", "table.csv"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert completed.returncode == 0, completed.stderr
    found = {row["path"].removeprefix("hostile/"): row for row in rows(tmp_path / "table.csv")}
    reasons = {
        "a.png": "a folder with the name of a picture",
        "blank.png": "blank",
        "bomb.zip/bomb.png": "unpacks to 134,217,728 bytes",
        "bomb.zip/inner.zip": "an archive in an archive",
        "cut.png": "damaged",
        "cut.tar": "the rest of the archive cannot be read",
        "empty.png": "not a picture",
        "fifo.png": "named pipe",
        "texts.npz": "<U1 [2, 28, 28]; expected",
        "huge.png": "too large",
        "link.png": "a broken link",
        "links.tar/passwd.png": "a link",
        "loop": "a link to a folder that it is in",
        "secret.png": "Permission denied",
        "text.png": "not a picture",
    }
    good = {
        "a.png/inner.png",
        "bomb.zip/../../outside.png",
        "good.png",
        "links.tar//absolute.png",
        "new\n\rline\\xff.png",
    }
    assert {path for path, row in found.items() if row["status"] == OK} == good
    assert found.keys() - good == reasons.keys() | {"cut.tar/passwd.png"}
    for path, reason in reasons.items():
        assert reason in found[path]["error"], found[path]
        assert found[path]["digit"] == found[path]["confidence"] == ""
        assert found[path]["status"] == ("blank" if path == "blank.png" else UNREADABLE)
    assert len({found[path]["digit"] for path in good}) == 1
    after = {file for file in tmp_path.rglob("*") if file.name != "table.csv"}
    assert after == before.keys(), "an archive has written outside of itself"
    assert all(len(line) < 250 for line in completed.stdout.splitlines())

    strict = [*command, "--out", "strict.csv", "--strict"]
    assert subprocess.run(strict, cwd=tmp_path, timeout=120, check=False).returncode == 1


def test_strict_fails_on_what_is_skipped_but_not_on_files_of_its_own(
    score: Digits, folders: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(next((folders / "4").iterdir()).read_bytes())
    (tmp_path / "truth.csv").write_text("path,label\na.png,4\n")
    (tmp_path / "sheet.png.unfinished").touch()  # of an earlier scoring that was killed
    command = (".", "--out", "t.csv", "--overwrite", "--contact-sheet", "sheet.png", "--labels", "truth.csv")
    for _ in range(2):
        completed = score(*command, "--strict", cwd=tmp_path)
        assert completed.returncode == 0, completed.stdout
    (tmp_path / ".DS_Store").touch()
    completed = score(*command, "--strict", cwd=tmp_path)
    assert completed.returncode == 1
    assert completed.stdout.splitlines()[-1] == "skipped     1 x hidden file: ./.DS_Store"
    assert score(*command, cwd=tmp_path).returncode == 0
    completed = score("-", "--out", "empty.csv", "--strict", cwd=tmp_path, input="")
    assert completed.returncode == 1
    assert completed.stdout.splitlines()[-1] == "skipped     1 x nothing to score in it: -"


def test_an_existing_table_is_not_overwritten_unless_told(score: Digits, folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    out.write_text("precious")
    refused = score(folders / "1", "--out", out)
    assert (refused.returncode, out.read_text()) == (1, "precious")
    assert refused.stderr.splitlines()[-1] == (
        f"digits: {out} exists; give another --out, or replace it with --overwrite"
    )
    assert score(folders / "1", "--out", out, "--overwrite").returncode == 0
    assert out.read_text().startswith("path,digit")
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to score; say `digits score PATH... --out table.csv`"),
        (("x",), "where to? say --out table.csv (or .jsonl, .parquet)"),
        (("x", "--out", "table.xls"), "--out table.xls: a table ends in .csv, .jsonl, .parquet"),
        (("x", "--out", "no/table.csv"), "--out no/table.csv: there is no folder no"),
        (("-", "-", "--out", "t.csv"), "the standard input is there once; say - once"),
        (("x", "--out", "t.csv", "--labels", "y"), "--labels y: y: the file cannot be read"),
    ],
)
def test_what_cannot_begin_says_so_in_one_line(
    score: Digits, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    completed = score(*arguments, cwd=tmp_path)
    assert completed.returncode == 1
    (line,) = completed.stderr.splitlines()
    assert line.startswith(f"digits: {message}")
    assert not list(tmp_path.iterdir())


def wait_for_rows(process: subprocess.Popen[str], out: Path) -> None:
    """Until a scoring has written some chunks down, or has ended: the first is less than this."""
    wal = Path(f"{out}.journal-wal")
    while process.poll() is None and not (wal.exists() and wal.stat().st_size > 150_000):
        os.sched_yield()


def interrupted(folders: Path, models: Path, out: Path, stop: signal.Signals) -> tuple[int, str]:
    """A scoring of a list that stays open, ended by a signal once its journal has rows: exit code and stderr."""
    command = [
        str(part)
        for part in (*COMMAND, "-", "--out", out, "--models", models, "--precision", "int8", "--processes", "1")
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("".join(f"{path}\n" for path in sorted(folders.rglob("*.png"))))
        process.stdin.write(f"{folders}/no-more.png\n" * 1500)  # what is ahead of the first rows
        process.stdin.flush()
        wait_for_rows(process, out)
        process.send_signal(stop)
        process.stdin.close()
        return process.wait(timeout=60), process.stderr.read()


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_what_is_done_is_kept_and_the_same_command_goes_on(
    score: Digits, folders: Path, models: Path, tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    out = tmp_path / "table.csv"
    returned, stderr = interrupted(folders, models, out, stop)
    assert returned == code, stderr
    assert not out.exists()
    paths = [*sorted(map(str, folders.rglob("*.png"))), *[f"{folders}/no-more.png"] * 1500]
    listed = "".join(f"{path}\n" for path in paths)
    completed = score("-", "--out", out, input=listed)
    assert completed.returncode == 0, completed.stderr
    assert " were there already), " in completed.stdout
    assert [row["path"] for row in rows(out)] == paths
    whole = score("-", "--out", tmp_path / "whole.csv", input=listed)
    assert whole.returncode == 0
    assert (tmp_path / "whole.csv").read_bytes() == out.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"table.csv", "whole.csv"}
    if stop != signal.SIGKILL:
        assert "rows are kept; the same command goes on from there" in stderr


def test_inputs_that_have_changed_are_scored_anew(score: Digits, folders: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    interrupted(folders, models, out, signal.SIGKILL)
    completed = score(folders / "4", "--out", out)
    assert completed.returncode == 0, completed.stderr
    assert "the inputs have changed from row 1 on, which is scored anew" in completed.stderr
    count = len(list((folders / "4").iterdir()))
    assert re.match(rf"{re.escape(str(out))}: {count} rows, \d[\d,]* a second\n", completed.stdout)
    assert [row["path"] for row in rows(out)] == sorted(map(str, (folders / "4").iterdir()))


def test_a_table_is_not_ended_by_another_model_than_it_was_begun_by(
    digits: Digits, folders: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table.csv"
    interrupted(folders, models, out, signal.SIGKILL)
    completed = digits("score", folders, "--out", out, "--models", models, "--precision", "fp32")
    assert completed.returncode == 1
    assert "the table was begun with other settings: precision was 'int8' and is 'fp32'" in completed.stderr
    completed = digits("score", folders, "--out", out, "--models", models)  # `auto` takes what it was
    assert completed.returncode == 0, completed.stderr


class Crash:
    """Ends the process that reads it."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (1,)


def test_a_picture_that_crashes_its_decoder_is_found(folders: Path) -> None:
    """The others of its chunk are decoded again, one by one; later chunks are decoded as usual."""
    paths: list[Any] = sorted(map(str, (folders / "2").iterdir()))[:3]
    with Decoders(1) as decoders:
        whole = decoders.result(paths, decoders.submit(paths))
        bad = [paths[0], Crash(), *paths[1:]]
        begun = [(contents, decoders.submit(contents)) for contents in (paths, bad, paths)]
        found = [decoders.result(contents, future) for contents, future in begun]
        again = decoders.result(paths, decoders.submit(paths))
    for decoded in (*found, again):
        assert decoded.pixels.tobytes() == whole.pixels.tobytes()
    assert [decoded.problems for decoded in (*found, again)] == [{}, {1: CRASHED}, {}, {}]


def test_a_server_that_goes_away_is_waited_for(
    serving: Callable[..., Any], models: Path, folders: Path, score: Digits, tmp_path: Path
) -> None:
    """It is killed while a list is being scored, and started again at the same address: the table is whole."""
    paths = sorted(map(str, folders.rglob("*.png"))) * 6
    address = f"unix:{tmp_path}/socket"
    out = tmp_path / "table.csv"
    command = [str(part) for part in (*COMMAND, "-", "--out", out, "--server", address, "--processes", "1")]
    with serving("--models", models, "--precision", "int8", address=address) as first:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("".join(f"{path}\n" for path in paths[:1500]))
        process.stdin.flush()
        wait_for_rows(process, out)
        first.process.kill()
        first.process.wait()
    process.stdin.write("".join(f"{path}\n" for path in paths[1500:]))
    process.stdin.close()
    assert "waiting for it" in process.stderr.readline(), process.wait()
    with serving("--models", models, "--precision", "int8", address=address):
        assert process.wait(timeout=60) == 0
    assert process.stderr.read() == "digits: the server is back\n"
    process.stderr.close()
    here = score(*[folders] * 6, "--out", tmp_path / "here.csv")
    assert here.returncode == 0, here.stderr
    assert out.read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_patience_ends(digits: Digits, folders: Path, tmp_path: Path) -> None:
    where = ("--server", f"unix:{tmp_path}/nobody", "--patience", 0, "--timeout", 2)
    completed = digits("score", folders, "--out", tmp_path / "t.csv", *where)
    assert completed.returncode == 1
    assert "UNAVAILABLE" in completed.stderr.splitlines()[-1]


def test_the_contact_sheet_shows_the_least_certain_as_the_model_sees_them(
    score: Digits, folders: Path, tmp_path: Path
) -> None:
    sheet, out = tmp_path / "sheet.png", tmp_path / "table.csv"
    completed = score(folders, "--out", out, "--contact-sheet", sheet)
    assert completed.returncode == 0, completed.stderr
    least = min(rows(out), key=lambda row: float(row["confidence"]))
    with Image.open(sheet) as picture, Image.open(least["path"]) as digit:
        tile = picture.crop((10, 44, 10 + 112, 44 + 112)).convert("L")
        assert np.array_equal(np.asarray(tile)[::4, ::4], np.asarray(digit))
        assert picture.size == (10 * 122 + 10, 6 * 156 + 44)


def test_the_files_that_a_scoring_writes_are_not_scored(score: Digits, folders: Path, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(next((folders / "6").iterdir()).read_bytes())
    arguments = (".", "--out", "table.csv", "--contact-sheet", "sheet.png", "--overwrite")
    for _ in range(2):
        assert score(*arguments, cwd=tmp_path).returncode == 0
        assert [row["path"] for row in rows(tmp_path / "table.csv")] == ["./one.png"]


def test_two_scorings_do_not_write_one_table(score: Digits, folders: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    command = [str(part) for part in (*COMMAND, "-", "--out", out, "--models", models)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not Path(f"{out}.journal-wal").exists():
            os.sched_yield()
        completed = score(folders, "--out", out)
        assert process.stdin is not None
        process.stdin.close()
    assert completed.returncode == 1
    assert f"{out}.journal: another scoring writes it" in completed.stderr


def test_blank_arrays_are_said_to_be_blank(score: Digits, data: Mnist, tmp_path: Path) -> None:
    pixels: NDArray[np.uint8] = data.x_test[:3].copy()
    pixels[1] = 0
    np.save(tmp_path / "three.npy", pixels)
    assert score("three.npy", "--out", "t.csv", cwd=tmp_path).returncode == 0
    assert [row["status"] for row in rows(tmp_path / "t.csv")] == [OK, "blank", OK]


def test_a_full_disk_is_one_line_and_loses_nothing(digits: Digits, folders: Path, models: Path, tmp_path: Path) -> None:
    """Files cannot grow beyond 150 KB: the journal fails first. With space again, the same command goes on."""
    out = tmp_path / "table.csv"
    arguments = ["score", *[folders] * 8, "--out", out, "--models", models, "--precision", "int8"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    completed = digits(*arguments, preexec_fn=limit)
    assert completed.returncode == 1
    kept, error = completed.stderr.splitlines()
    assert "rows are kept; the same command goes on from there" in kept
    assert error.startswith(f"digits: {out}.journal: disk I/O error; is there space left")
    completed = digits(*arguments)
    assert completed.returncode == 0, completed.stderr
    assert " were there already), " in completed.stdout
    assert len(rows(out)) == 8 * COUNT


def test_a_pattern_gives_each_file_once_and_the_whole_of_a_folder(score: Digits, folders: Path, tmp_path: Path) -> None:
    for number, pattern in enumerate(("**", "**/*", "*")):
        out = tmp_path / f"{number}.csv"
        assert score(folders / pattern, "--out", out).returncode == 0
        assert sorted(row["path"].replace("//", "/") for row in rows(out)) == sorted(map(str, folders.rglob("*.png")))
    assert score(folders.parent / "**" / "sca*", "--out", tmp_path / "top.csv").returncode == 0
    assert len(rows(tmp_path / "top.csv")) == COUNT


def test_an_empty_folder_is_said_to_be_empty(score: Digits, tmp_path: Path) -> None:
    (tmp_path / "note.txt").touch()
    completed = score(".", "--out", "table.csv", cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert "nothing to score" in completed.stdout
    assert completed.stdout.splitlines()[-1] == "skipped     1 x .txt file: ./note.txt"
    assert (tmp_path / "table.csv").read_text() == "path,digit,confidence,status,error\n"
