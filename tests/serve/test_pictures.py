"""Picture files in a call, and through every other entry: the same bytes give the same digit or the same error."""

import io
import json
import os
import resource
import signal
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digits.client import Client
from digits.client.predictions import Predictions
from digits.images import picture
from digits.images.errors import PictureError
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.serve.process.decoder_process import DecoderProcess

Pixels = NDArray[np.uint8]
Stub = digits_pb2_grpc.DigitClassifierStub

FORMATS = ("PNG", "JPEG", "WebP")


def encoded(digit: Pixels, name: str) -> bytes:
    """A digit as a photo: dark on light, and larger."""
    file = io.BytesIO()
    Image.fromarray(255 - digit).resize((140, 140)).save(file, name)
    return file.getvalue()


def refused(stub: Stub, request: digits_pb2.ClassifyRequest) -> str:
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(request, timeout=30)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(error.value.details())


def test_files_are_answered_as_their_pixels_are(stub: Stub, test_digits: Pixels) -> None:
    files = [encoded(digit, name) for digit, name in zip(test_digits, FORMATS, strict=False)]
    pixels = np.stack([picture.read(file) for file in files])
    ask = digits_pb2.ClassifyRequest
    found = stub.Classify(ask(pictures=files, include_probabilities=True), timeout=30)
    expected = stub.Classify(ask(pixels=pixels.tobytes(), include_probabilities=True), timeout=30)
    assert found.digits == expected.digits
    assert found.probabilities == expected.probabilities


@pytest.fixture(scope="module")
def contents(test_digits: Pixels) -> list[bytes]:
    """PNG, JPEG and WebP: good, damaged, blank, 100,000 x 100,000 pixels, and a small one with 100 MB of zeros."""
    found = [encoded(digit, name) for name in FORMATS for digit in test_digits[:3]]
    damaged = [bytes([*file[:60], *(byte ^ 0x55 for byte in file[60:90]), *file[90:]]) for file in found]
    blank = [encoded(np.zeros((28, 28), np.uint8), name) for name in FORMATS]
    large = png(100_000, 100_000, bytes(999)), png(28, 28, bytes(100_000_000))
    return [*found, *damaged, *[file[:-30] for file in found], *[file[:30] for file in found], *blank, *large]


def test_the_same_bytes_give_the_same_digit_or_error_through_every_entry(
    stub: Stub, client: Client, server: Any, digits: Any, contents: list[bytes], tmp_path: Path
) -> None:
    """Client by content and by path, `classify`, `score` of a folder and of an archive, and the RPC."""
    expected = [outcome(partial(client.classify, content)) for content in contents]
    assert {"0", "1", "7"} & set(expected)
    assert "100000 x 100000 pixels" in expected[-2]
    assert "is blank" in expected[-1]
    assert sum(not answer.isdigit() for answer in expected) > len(contents) / 2
    paths = [tmp_path / "in" / f"{number:03}.png" for number in range(len(contents))]
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
            archive.write(path, path.name)
    assert [outcome(partial(client.classify, path)).removeprefix(f"{path}: ") for path in paths] == expected
    assert [rpc_outcome(stub, content) for content in contents] == expected
    lines = digits("classify", "--json", "--server", server.address, *paths).stdout.splitlines()
    table = tmp_path / "table.jsonl"
    scored = digits("score", tmp_path / "in", tmp_path / "all.zip", "--server", server.address, "--out", table)
    assert scored.returncode == 0, scored.stderr
    rows = list(map(json.loads, [*lines, *table.read_text().splitlines()]))
    assert [str(row["digit"] if row.get("error") is None else row["error"]) for row in rows] == expected * 3


def outcome(classify: Callable[[], Predictions]) -> str:
    """The digit, or the error's text."""
    try:
        return str(classify().digits[0])
    except PictureError as error:
        return str(error)


def rpc_outcome(stub: Stub, content: bytes) -> str:
    try:
        return str(stub.Classify(digits_pb2.ClassifyRequest(pictures=[content]), timeout=30).digits[0])
    except grpc.RpcError as error:
        return str(error.details()).removeprefix("pictures[0]: ")


@pytest.mark.parametrize("name", ["BMP", "GIF", "TIFF"])
def test_other_formats_are_read_from_own_files_only(
    stub: Stub, client: Client, server: Any, digits: Any, test_digits: Pixels, tmp_path: Path, name: str
) -> None:
    """The client turns them into pixels before it sends them."""
    content = encoded(test_digits[0], name)
    refusal = f"{name} is not accepted here; send PNG, JPEG or WebP"
    assert rpc_outcome(stub, content) == refusal
    digit = client.classify(content).digits[0]
    path = tmp_path / f"7.{name.lower()}"
    path.write_bytes(content)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, path.name)
    table = tmp_path / "table.jsonl"
    digits("score", path, tmp_path / "all.zip", "--server", server.address, "--out", table)
    own, archived = map(json.loads, table.read_text().splitlines())
    assert (own["digit"], archived["error"]) == (digit, refusal)


def test_a_file_that_is_not_a_picture_is_named_by_its_place(stub: Stub, test_digits: Pixels) -> None:
    good = encoded(test_digits[0], "PNG")
    ask = digits_pb2.ClassifyRequest
    assert refused(stub, ask(pictures=[good, b"%PDF-1.4"])).startswith("pictures[1]: not a picture in an accepted")
    assert refused(stub, ask(pictures=[good[:-30]])).startswith("pictures[0]: the PNG file")
    assert "blank" in refused(stub, ask(pictures=[encoded(np.zeros((28, 28), np.uint8), "PNG")]))
    both = ask(pictures=[good], pixels=bytes(784))
    assert refused(stub, both) == "the call has 784 bytes of pixels and pictures too; expected one of them"
    many = ask(pictures=[b"x"] * 1025)
    assert refused(stub, many) == "pictures has 1025 images; max_batch_size is 1024: split the call"


def png(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


# The process that decodes them


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    with closing(DecoderProcess()) as decoder:
        yield decoder


@pytest.fixture
def content(test_digits: Pixels) -> bytes:
    return encoded(test_digits[0], "PNG")


def child(decoder: DecoderProcess) -> int:
    assert decoder._process is not None
    return decoder._process.pid


def test_it_gives_the_digits_and_errors_of_the_callers_process(decoder: DecoderProcess, content: bytes) -> None:
    assert decoder.decode(content) == picture.decode(content).tobytes()
    for wrong in (b"", b"hello", content[:-30], content + bytes(2**25)):
        with pytest.raises(PictureError) as expected:
            picture.decode(wrong)
        with pytest.raises(PictureError) as error:
            decoder.decode(wrong)
        assert str(error.value) == str(expected.value)
    assert decoder.decode(content) == picture.decode(content).tobytes()


def test_a_process_that_was_killed_between_two_pictures_is_replaced(decoder: DecoderProcess, content: bytes) -> None:
    decoder.decode(content)
    os.kill(child(decoder), signal.SIGKILL)
    os.waitid(os.P_PID, child(decoder), os.WEXITED | os.WNOWAIT)
    assert decoder.decode(content) == picture.decode(content).tobytes()


def test_a_picture_that_ends_the_process_is_an_error_and_the_next_one_is_decoded(
    decoder: DecoderProcess, content: bytes
) -> None:
    """The process is left no memory to receive a large picture in."""
    decoder.decode(content)
    used = int(Path(f"/proc/{child(decoder)}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(child(decoder), resource.RLIMIT_AS, (used + 2**20, used + 2**20))
    with pytest.raises(PictureError, match=r"^the picture takes more than 20 s or 768 MB to decode; send a smaller"):
        decoder.decode(content + bytes(2**24))
    assert decoder.decode(content) == picture.decode(content).tobytes()


def test_its_memory_and_time_are_limited_and_it_ends_with_the_caller(decoder: DecoderProcess, content: bytes) -> None:
    decoder.decode(content)
    pid = child(decoder)
    for kind, most in ((resource.RLIMIT_AS, 2**32), (resource.RLIMIT_CPU, 60), (resource.RLIMIT_CORE, 0)):
        assert 0 <= resource.prlimit(pid, kind)[0] <= most
    decoder.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
