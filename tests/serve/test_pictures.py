"""Picture files in a call: the server decodes them as the library does, and a bomb is an error."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from PIL import Image

from digits.images import picture
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF")


@pytest.fixture
def stub(server: Any) -> Iterator[digits_pb2_grpc.DigitClassifierStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield digits_pb2_grpc.DigitClassifierStub(channel)


def encoded(digit: NDArray[np.uint8], name: str) -> bytes:
    """A digit as a photo: dark on light, and larger."""
    file = io.BytesIO()
    Image.fromarray(255 - digit).resize((140, 140)).save(file, name)
    return file.getvalue()


def refused(stub: digits_pb2_grpc.DigitClassifierStub, request: digits_pb2.ClassifyRequest) -> str:
    with pytest.raises(grpc.RpcError) as error:
        stub.Classify(request, timeout=30)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(error.value.details())


def test_files_of_five_formats_are_answered_as_their_pixels_are(
    stub: digits_pb2_grpc.DigitClassifierStub, test_digits: NDArray[np.uint8]
) -> None:
    files = [encoded(digit, name) for digit, name in zip(test_digits[:5], FORMATS, strict=True)]
    pixels = np.stack([picture.read(io.BytesIO(file)) for file in files])
    ask = digits_pb2.ClassifyRequest
    found = stub.Classify(ask(pictures=files, include_probabilities=True), timeout=30)
    expected = stub.Classify(ask(pixels=pixels.tobytes(), include_probabilities=True), timeout=30)
    assert found.digits == expected.digits
    assert found.probabilities == expected.probabilities


def test_a_file_that_is_no_picture_is_named_by_its_place(
    stub: digits_pb2_grpc.DigitClassifierStub, test_digits: NDArray[np.uint8]
) -> None:
    good = encoded(test_digits[0], "PNG")
    ask = digits_pb2.ClassifyRequest
    assert refused(stub, ask(pictures=[good, b"%PDF-1.4"])).startswith("pictures[1]: not a picture in an accepted")
    assert refused(stub, ask(pictures=[good[:-30]])).startswith("pictures[0]: the PNG file")
    assert "blank" in refused(stub, ask(pictures=[encoded(np.zeros((28, 28), np.uint8), "PNG")]))
    both = ask(pictures=[good], pixels=bytes(784))
    assert refused(stub, both) == "the call has 784 bytes of pixels and pictures too; expected one of them"
    many = ask(pictures=[b"x"] * 1025)
    assert refused(stub, many) == "pictures has 1025 images; max_batch_size is 1024: split the call"


def test_a_decompression_bomb_is_an_error(stub: digits_pb2_grpc.DigitClassifierStub) -> None:
    """100,000 x 100,000 pixels in a few hundred bytes; and a small picture whose data are a gigabyte of zeros."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    huge = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )
    assert "100000 x 100000 pixels" in refused(stub, digits_pb2.ClassifyRequest(pictures=[huge]))
    small = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
    squeezed = zlib.compress(bytes(100_000_000))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", small) + chunk(b"IDAT", squeezed) + chunk(b"IEND", b"")
    assert refused(stub, digits_pb2.ClassifyRequest(pictures=[bomb])).startswith("pictures[0]: the PNG file")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
