"""The client library: numpy, paths or bytes in, a typed result out, one tree of errors."""

import asyncio
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digits.client import (
    AsyncClient,
    Client,
    ClientError,
    ClosedError,
    DeadlineError,
    OverloadedError,
    RequestError,
    ServerError,
    UnavailableError,
)
from digits.client.errors import client_error
from digits.client.local import LocalClassifier
from digits.images.errors import BlankError, PictureError
from digits.images.mnist import Mnist

Connect = Callable[..., Any]
Pixels = NDArray[np.uint8]
PICTURES = 3


def png(digit: Pixels) -> bytes:
    """A picture that is a digit already, so that its pixels come out as they are."""
    file = io.BytesIO()
    Image.fromarray(digit).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def paths(test_digits: Pixels, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first test digits as picture files."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, digit in enumerate(test_digits[:PICTURES]):
        (folder / f"{i}.png").write_bytes(png(digit))
    return sorted(folder.iterdir())


def test_arrays_paths_and_bytes_get_the_same_answers(
    server: Any, connect: Connect, test_digits: Pixels, paths: list[Path]
) -> None:
    """One or many, also mixed in one sequence: the client makes digits of the pictures."""
    contents = [path.read_bytes() for path in paths]
    backwards = test_digits[:PICTURES][::-1].copy()
    many: list[Any] = [
        list(test_digits[:PICTURES]),
        backwards[::-1],  # not contiguous
        tuple(paths),
        [str(path) for path in paths],
        contents,
        [test_digits[0], paths[1], contents[2]],
    ]
    with connect(server.address) as client:
        expected = client.classify(test_digits[:PICTURES], include_probabilities=True).probabilities.tobytes()
        for images in many:
            found = client.classify(images, include_probabilities=True).probabilities
            assert found.tobytes() == expected
        for image in (paths[0], str(paths[0]), contents[0], [paths[0]]):
            found = client.classify(image, include_probabilities=True).probabilities
            assert found.tobytes() == expected[: 4 * 10]


def test_a_bad_picture_is_named_by_its_path_or_its_place(
    server: Any, connect: Connect, test_digits: Pixels, paths: list[Path], tmp_path: Path
) -> None:
    """In one line, and with its own kind of error."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"%PDF-1.4")
    named = dict.fromkeys((bad, str(bad), (*paths, bad)), f"{bad}: ")
    named |= {(png(test_digits[0]), b"%PDF-1.4"): "images[1]: ", b"%PDF-1.4": ""}
    with connect(server.address) as client:
        for images, name in named.items():
            with pytest.raises(PictureError) as error:
                client.classify(images)
            words = "not a picture in a format that Pillow reads; give one, such as a PNG or JPEG file"
            assert str(error.value) == f"{name}{words}"
        with pytest.raises(BlankError, match=r"^images\[1\]: "):
            client.classify([paths[0], png(np.zeros((28, 28), np.uint8))])
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            client.classify([*paths, tmp_path / "none.png"])


def test_predictions_are_typed_arrays_the_same_from_this_process_and_a_server(
    client: Client, models: Path, data: Mnist
) -> None:
    local = LocalClassifier(models, precision="int8").classify(data.x_test, include_probabilities=True)
    remote = client.classify(data.x_test, include_probabilities=True)
    for found in (local, remote):
        assert (found.digits.dtype, found.confidences.dtype) == (np.dtype(np.uint8), np.dtype(np.float32))
        assert found.probabilities is not None
        assert np.array_equal(found.probabilities.argmax(axis=1), found.digits)
        assert np.array_equal(found.probabilities.max(axis=1), found.confidences)
        assert found.model_version == "1"
        assert (found.digits == data.y_test).mean() >= 0.935
    assert local.probabilities.tobytes() == remote.probabilities.tobytes()  # type: ignore[union-attr] # as above
    assert 0 < remote.timing.compute < remote.timing.queue + remote.timing.compute < remote.timing.total
    assert remote.timing.batch_size >= 1000
    assert 0 < local.timing.compute <= local.timing.total
    assert (local.timing.queue, local.timing.batch_size) == (0, 1000)
    assert client.classify(data.x_test[0]).probabilities is None


def test_threads_and_tasks_share_a_client(server: Any, client: Client, test_digits: Pixels) -> None:
    expected = client.classify(test_digits[:400]).digits
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.classify, np.split(test_digits[:400], 100)))
    assert np.array_equal(np.concatenate([answer.digits for answer in answers]), expected)

    async def run() -> list[Any]:
        async with AsyncClient(server.address, channels=2) as other:
            assert await other.model() == client.model()
            return await asyncio.gather(*map(other.classify, test_digits[:400]))

    assert np.array_equal(np.concatenate([answer.digits for answer in asyncio.run(run())]), expected)


def test_an_asyncio_client_is_made_anywhere_and_belongs_to_the_loop_of_its_first_call(
    server: Any, test_digits: Pixels
) -> None:
    client = AsyncClient(server.address)

    async def run() -> None:
        await client.classify(test_digits[0])

    with asyncio.Runner() as first:
        first.run(run())
        first.run(run())
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="make one for each loop"):
            second.run(run())
        first.run(client.close())
        with pytest.raises(ClosedError):
            first.run(run())


def test_several_channels_are_connections_of_their_own(server: Any, connect: Connect, test_digits: Pixels) -> None:
    """Made at the first call, and used in turn."""
    before = established(server.address)
    with connect(server.address, channels=3) as client:
        client.classify(test_digits[0])
        assert len(established(server.address) - before) == 1
        for digit in test_digits[:2]:
            client.classify(digit)
        assert len(established(server.address) - before) == 3
    with pytest.raises(ValueError, match="channels is 0; expected at least 1"):
        connect(server.address, channels=0)


def established(address: str) -> set[str]:
    """The near ends of the connections to an address, as the kernel's tables write them."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    tables = [Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {near for _, near, far, state, *_ in rows if far.endswith(port) and state == "01"}


def test_a_missing_server_is_unavailable_when_the_time_is_over(
    connect: Connect, tmp_path: Path, test_digits: Pixels
) -> None:
    address = f"unix:{tmp_path}/nobody"
    with connect(address, timeout=2) as client:
        assert not client.ready()
        with pytest.raises(UnavailableError, match=address) as error:
            client.classify(test_digits[0])
        answers = list(client.stream(test_digits[:3], return_exceptions=True))
    assert error.value.code == "UNAVAILABLE"
    assert list(map(type, answers)) == [UnavailableError] * 3


def test_a_server_is_ready_until_it_drains(client: Client, serving: Callable[..., Any], models: Path) -> None:
    assert client.ready()
    with serving("--models", models, "--no-warmup", "--lame-duck", 60) as leaving, Client(leaving.address) as other:
        assert other.ready()
        leaving.process.terminate()
        while other.ready():  # the server says so as long as --lame-duck
            pass
        assert leaving.process.poll() is None


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        ("UNAVAILABLE", "draining", UnavailableError),
        ("DEADLINE_EXCEEDED", "too late", DeadlineError),
        ("RESOURCE_EXHAUSTED", "the queue is full", OverloadedError),
        ("RESOURCE_EXHAUSTED", "the message has 9 bytes; max_message_bytes is 8: split the call", RequestError),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (9 vs. 8)", RequestError),
        ("INVALID_ARGUMENT", "783 bytes", RequestError),
        ("NOT_FOUND", "no such model", RequestError),
        ("FAILED_PRECONDITION", "", RequestError),
        ("OUT_OF_RANGE", "", RequestError),
        ("UNIMPLEMENTED", "no such method", RequestError),
        ("INTERNAL", "incident 1", ServerError),
        ("CANCELLED", "", ServerError),
    ],
)
def test_a_status_is_an_error_of_its_kind(code: str, words: str, kind: type[ClientError]) -> None:
    """All of them are ClientErrors, and come whole out of another process."""
    error = client_error("host:1", code, f"{words}\n", 0.5)
    assert type(error) is kind
    assert (error.code, str(error)) == (code, f"host:1: {code}: {words}")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 our own
    assert (type(again), vars(again), str(again)) == (kind, vars(error), str(error))


HEAVY = {"PIL", "digits.model", "digits.serve", "keras", "onnxruntime", "tensorflow"}
IMPORTS = f"""
import sys
import numpy as np
from digits.client import AsyncClient, Client
from digits.client.pixels import pixels_of

pixels_of(np.zeros((2, 28, 28), np.uint8))
print(*sorted({HEAVY} & sys.modules.keys()))
pixels_of(sys.argv[1])
print(*sorted({HEAVY} & sys.modules.keys()))
"""


def test_importing_it_loads_nothing_that_it_may_not_need(paths: list[Path]) -> None:
    """Pillow comes with the first picture."""
    command = [sys.executable, "-c", IMPORTS, str(paths[0])]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == ["", "PIL"]
