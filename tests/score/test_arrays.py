"""Arrays in files, as people have them, are scored as the uint8 pixels that they stand for, or say what is wrong."""

import csv
import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.cli.app import app
from digits.client.local import LocalClassifier
from digits.images.mnist import Mnist
from digits.images.settings import ArraySettings
from digits.score.chunk import Problem
from digits.score.labels import labels
from digits.score.sources import Sources

Pixels = NDArray[np.uint8]

COUNT = 300  # more than are read at once
NOISE = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def pixels(test_digits: Pixels) -> Pixels:
    return test_digits[:COUNT]


def idx_bytes(pixels: Pixels) -> bytes:
    return struct.pack(">4I", 0x0803, *pixels.shape) + pixels.tobytes()


def read(path: Path | str, **settings: Any) -> tuple[Pixels, list[str], list[str]]:
    """The pixels of a file, what is wrong with it, and the lines that are said about it."""
    said: list[str] = []
    sources = Sources([str(path)], settings=ArraySettings(**settings), say=said.append)
    found, problems = [np.zeros((0, 28, 28), np.uint8)], []
    for chunk in sources.chunks():
        if isinstance(chunk.contents, np.ndarray):
            found.append(chunk.contents)
        else:
            problems += [content.error for content in chunk.contents if isinstance(content, Problem)]
    assert sources.skipped.total == 0
    return np.concatenate(found), problems, said


FORMS: dict[str, Callable[[Pixels], NDArray[Any]]] = {
    "[28,28]": lambda pixels: pixels[0],
    "[n,784]": lambda pixels: pixels.reshape(-1, 784),
    "[n,1,28,28]": lambda pixels: pixels[:, np.newaxis],
    "float64, 0-1": lambda pixels: pixels / 255,
    "float16, 0-255": lambda pixels: pixels.astype(np.float16),
    "big-endian float32": lambda pixels: pixels.astype(">f4"),
    "Fortran's order": np.asfortranarray,
    "floats in Fortran's order": lambda pixels: np.asfortranarray(pixels.reshape(-1, 784) / 255),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_every_form_of_an_array_is_read(tmp_path: Path, pixels: Pixels, form: str, suffix: str) -> None:
    path = tmp_path / f"digits{suffix}"
    array = FORMS[form](pixels)
    expected = pixels[: array.size // 784]
    np.save(path, array) if suffix == ".npy" else np.savez(path, x=array, y=np.zeros(len(expected), np.int64))
    found, problems, said = read(path)
    np.testing.assert_array_equal(found, expected)
    assert not problems
    floats = f"{path}: pixels up to {array.max():g} are taken as {'0-1' if array.max() <= 1 else '0-255'}; "
    assert [line.startswith(floats) for line in said] == [True] * (array.dtype.kind == "f")


def test_labels_are_not_images_and_gzip_is_known_by_its_content(tmp_path: Path, test_digits: Pixels) -> None:
    """784 labels have the shape of an image; the IDX file of labels in a folder is not a skipped input."""
    many = test_digits[:784]
    np.savez(tmp_path / "digits.npz", y=np.zeros(784, np.uint8), x=many)
    np.testing.assert_array_equal(read(tmp_path / "digits.npz")[0], many)
    folder, few = tmp_path / "idx", many[:2]
    folder.mkdir()
    (folder / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(idx_bytes(few)))
    (folder / "y.idx3-ubyte.gz").write_bytes(idx_bytes(few))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x0801, 2) + bytes(2))
    np.testing.assert_array_equal(read(folder)[0], np.concatenate([few, few]))


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("header", [True, False])
def test_csv_in_kaggles_layout_is_read_with_its_labels_and_without(
    tmp_path: Path, pixels: Pixels, *, labelled: bool, header: bool
) -> None:
    path = tmp_path / "digits.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow([*["label"][:labelled], *(f"pixel{place}" for place in range(784))])
        writer.writerows([*[7][:labelled], *row] for row in pixels.reshape(-1, 784).tolist())
    found, problems, _ = read(path)
    np.testing.assert_array_equal(found, pixels)
    assert not problems


def test_the_range_is_decided_once_for_a_whole_file(tmp_path: Path, pixels: Pixels) -> None:
    """The first digits alone would be taken for 0 to 1."""
    shades = np.where(np.arange(COUNT)[:, np.newaxis, np.newaxis] < COUNT - 1, pixels > 128, pixels).astype(np.float32)
    np.savez(tmp_path / "digits.npz", x=shades)
    found, _, said = read(tmp_path / "digits.npz")
    np.testing.assert_array_equal(found, shades.astype(np.uint8))
    assert "taken as 0-255" in said[0]
    assert read(tmp_path / "digits.npz", pixel_range="0-255")[2] == said[1:]
    (problem,) = read(tmp_path / "digits.npz", pixel_range="0-1")[1]
    place = int((shades[-1] > 1.5).argmax())
    assert (
        f"pixel {place} of image {COUNT - 1} is {shades[-1].flat[place]}; expected 0 to 1; --pixel-range 0-2" in problem
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 256.0, -0.5])
def test_a_float_that_is_in_neither_range_is_refused(tmp_path: Path, pixels: Pixels, value: float) -> None:
    """If the maximum is wrong, before a row is scored: the range of all of them would be a guess."""
    array = pixels / 255
    array[280, 0, 5] = value
    np.save(tmp_path / "digits.npy", array)
    found, (problem,), _ = read(tmp_path / "digits.npy")
    assert len(found) == (256 if value < 0 else 0)
    what = "pixel 5 of image 280 is -0.5; expected 0 to 1" if value < 0 else f"the maximum is {value:g}; expected 0 to"
    assert what in problem
    assert "if they were normalized" in problem


def test_inverted_and_transposed_arrays_give_a_warning_and_are_turned(tmp_path: Path, pixels: Pixels) -> None:
    path = tmp_path / "digits.npy"
    for turned, option in ((255 - pixels, "invert"), (pixels.transpose(0, 2, 1), "transpose")):
        np.save(path, turned)
        assert [f"--{option} " in line for line in read(path)[2]] == [True]
        found, _, said = read(path, **{option: True})
        np.testing.assert_array_equal(found, pixels)
        assert said == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a-idx3-ubyte", b"<!DOCTYPE html><html>404</html>", "an HTML or XML page, not the data; download it again"),
        ("b-idx3-ubyte", struct.pack(">2I", 0x0801, 8) + bytes(8), "0x00000801; expected 0x00000803"),
        ("c.npy", b"", "an empty file"),
        ("d.npz", b"PK\x03\x04 and no more", "cut short"),
        ("e.csv", b"a,b\n1,2\n", "it has 2 columns; expected 784 pixels, or a label and 784 pixels"),
        ("f.csv", b"\x89PNG\r\n", "it is a PNG picture; expected an .npz, .npy, IDX or CSV file"),
        ("g-idx3-ubyte", gzip.compress(idx_bytes(NOISE))[:800], "cut short"),
        ("h-idx3-ubyte", idx_bytes(NOISE)[:800], "cut short"),
    ],
)
def test_what_is_not_an_array_is_an_error_of_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    found, (problem,), _ = read(tmp_path / name)
    assert not len(found)
    assert words in problem
    assert "\n" not in problem
    for url in ("https://example.com/mnist.npz", "s3://bucket/digits?version=2", "hf://datasets/mnist"):
        assert read(url)[1] == ["a URL; URLs are not read: download the file and give its path"]


def test_labels_are_unzipped_by_their_content_too(tmp_path: Path, data: Mnist) -> None:
    expected = data.y_test[:3].tolist()
    np.save(tmp_path / "y.npy", data.y_test[:3])
    np.savez(tmp_path / "y.npz", y=data.y_test[:3])
    (tmp_path / "y-idx1-ubyte").write_bytes(struct.pack(">2I", 0x0801, 3) + bytes(data.y_test[:3]))
    for path in sorted(tmp_path.iterdir()):
        path.write_bytes(gzip.compress(path.read_bytes()))
        known = labels(str(path))
        assert [known.of(i, f"{path}/x/{i}") for i in range(3)] == expected


def test_the_command_takes_the_options_of_arrays(tmp_path: Path, pixels: Pixels) -> None:
    np.savez(tmp_path / "floats.npz", x=(255 - pixels) / 255)
    out, turned = tmp_path / "table.csv", ("--invert", "--pixel-range", "0-1")
    app(["score", str(tmp_path / "floats.npz"), "--out", str(out), *turned, "--precision", "fp32", "--strict"])
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [int(row["digit"]) for row in rows] == LocalClassifier(precision="fp32").classify(pixels).digits.tolist()
