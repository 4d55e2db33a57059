"""The inputs of a scoring: what each path gives, and what is left out of it."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from digits.images.mnist import Mnist
from digits.score.chunk import UNREADABLE, Content, Problem
from digits.score.sources import Sources, listed


def skipped(path: Path) -> list[str]:
    """What the inputs in a path leave out."""
    sources = Sources([str(path)])
    for _ in sources.chunks():
        pass
    return [line.replace(str(path), "PATH") for line in sources.skipped.lines()]


def test_every_skipped_input_is_counted_with_its_reason(data: Mnist, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert skipped(folder) == ["1 x nothing to score in it: PATH"]
    for name in (".DS_Store", ".hidden.png", "Thumbs.db", "note.txt", "other.txt", "README", "line\nfeed.txt"):
        (folder / name).touch()
    assert skipped(folder) == [
        "3 x .txt file: PATH/line\\nfeed.txt",
        "2 x hidden file: PATH/.DS_Store",
        "1 x file without suffix: PATH/README",
        "1 x .db file: PATH/Thumbs.db",
    ]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        assert archive.namelist() == []
    assert skipped(tmp_path / "a.zip") == ["1 x nothing to score in it: PATH"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder, "inside")
    assert len(skipped(tmp_path / "a.tar")) == 4
    x, y = data.x_test[:3], data.y_test[:3]
    objects = np.array([None, "seven", 7])
    np.savez(tmp_path / "a.npz", x=x, y=y, y_more=y, y_words=y.astype(str), small=x[:, :14], objects=objects)
    assert skipped(tmp_path / "a.npz") == [
        "1 x array of uint8 [3]: PATH/y_more",
        "1 x array of <U3 [3]: PATH/y_words",
        "1 x array of uint8 [3, 14, 28]: PATH/small",
        "1 x array of object [3]: PATH/objects",
    ]
    assert skipped(tmp_path / "a.npz" / "x") == []


def contents(path: Path) -> dict[str, Content]:
    """What the pictures in a path hold, in their order."""
    pictures = [
        pair for chunk in Sources([str(path)]).chunks() for pair in zip(chunk.paths, chunk.contents, strict=True)
    ]
    return {name.removeprefix(f"{path}/"): content for name, content in pictures}


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.LNKTYPE, target
    return link


def file(name: str, content: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_hard_link_in_a_tar_is_the_file_that_it_leads_to(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    """Also to a file that is not a picture, or is far before it: only the latest 64 MB of pictures are kept."""
    archive = tmp_path / "links.tar.gz"
    with tarfile.open(archive, "w") as tar:
        for name in ("a.png", "data.bin"):
            tar.addfile(*file(f"./{name}", name.encode()))
        for name, target in (("b", "./a.png"), ("e", "./data.bin"), ("to-link", "e.png"), ("itself", "itself.png")):
            tar.addfile(hard_link(f"{name}.png", target))
        tar.addfile(hard_link("missing.png", "nowhere.png"))
        for number in range(2):
            tar.addfile(*file(f"{number}.png", bytes(60_000_000)))
        tar.addfile(hard_link("far.png", "a.png"))
        tar.addfile(*file("a.png", b"newer"))
        tar.addfile(hard_link("to-newer.png", "./a.png"))
    archive.write_bytes(packed(archive.read_bytes()))
    found = {name: content for name, content in contents(archive).items() if content != bytes(60_000_000)}
    pictures = {name: content for name, content in found.items() if isinstance(content, bytes)}
    linked = {"b.png": b"a.png", "e.png": b"data.bin", "to-link.png": b"data.bin", "far.png": b"a.png"}
    assert pictures == {"./a.png": b"a.png", **linked, "a.png": b"newer", "to-newer.png": b"newer"}
    assert {name: content.error for name, content in found.items() if isinstance(content, Problem)} == {
        "missing.png": "a hard link to nowhere.png, which is not before it in the archive",
        "itself.png": "a hard link to itself.png, which is not before it in the archive",
    }


def test_an_encrypted_zip_is_said_to_be_encrypted_and_a_name_with_a_nul_is_shown_without(tmp_path: Path) -> None:
    archive = tmp_path / "secret.zip"
    with zipfile.ZipFile(archive, "w") as plain:
        plain.writestr("a.png", b"abc")
    marked = archive.read_bytes()
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = marked.index(signature) + flags
        marked = marked[:place] + bytes([marked[place] | 1]) + marked[place + 1 :]
    archive.write_bytes(marked)
    assert contents(archive) == {"a.png": Problem(UNREADABLE, "the archive is encrypted; unpack it first")}
    with tarfile.open(tmp_path / "nul.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(*file("\u00e9\0.png", b""))
    assert contents(tmp_path / "nul.tar") == {"\u00e9\\x00.png": b""}


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"\xef\xbb\xbfa.png\r\nb\rc.png\r\n\r\nd.png", ["a.png", "b\rc.png", "d.png"]),
        (b"\xef\xbb\xbfa.png", ["a.png"]),
        (b"a\n.png\0b.png\r\0\xff", ["a\n.png", "b.png\r", "\udcff"]),
        (b"", []),
    ],
)
def test_a_list_ends_its_paths_as_unix_windows_or_print0_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bytes, paths: list[str]
) -> None:
    (tmp_path / "list").write_bytes(given)
    with (tmp_path / "list").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert list(listed()) == paths


def test_a_pattern_gives_each_file_once_and_the_whole_of_a_folder(folders: Path) -> None:
    files = sorted(map(str, folders.rglob("*.png")))
    for pattern in (folders / "**", folders / "**" / "*", folders / "*", folders.parent / "**" / "sca*"):
        found = [path for chunk in Sources([str(pattern)]).chunks() for path in chunk.paths]
        assert sorted(path.replace("//", "/") for path in found) == files
