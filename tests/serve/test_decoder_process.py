"""The process that decodes pictures of strangers: the same digits and errors; what ends it harms no other picture."""

from __future__ import annotations

import io
import os
import resource
import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from digits.images import picture
from digits.images.errors import PictureError
from digits.serve.process.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    with closing(DecoderProcess()) as decoder:
        yield decoder


@pytest.fixture
def content(test_digits: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(255 - test_digits[0]).resize((140, 140)).save(file, "PNG")
    return file.getvalue()


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
