"""AsyncClient: as Client, in one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from digits.client import AsyncClient, ClosedError
from digits.images.errors import PictureError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.client import Client


def test_many_calls_at_a_time_get_their_own_answers(
    server: Any, client: Client, test_digits: NDArray[np.uint8]
) -> None:
    expected = client.classify(test_digits[:200], include_probabilities=True).probabilities

    async def run() -> NDArray[np.float32]:
        async with AsyncClient(server.address, channels=2) as other:
            calls = (other.classify(digit, include_probabilities=True) for digit in test_digits[:200])
            answers = await asyncio.gather(*calls)
            assert all(answer.timing.batch_size >= 1 for answer in answers)
            return np.concatenate([answer.probabilities for answer in answers])

    assert expected is not None
    assert asyncio.run(run()).tobytes() == expected.tobytes()


def test_pictures_and_arrays_get_the_same_answers(
    server: Any, client: Client, test_digits: NDArray[np.uint8], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, digit in zip(paths, test_digits, strict=False):
        Image.fromarray(digit).save(path)
    expected = client.classify(test_digits[:3], include_probabilities=True).probabilities
    assert expected is not None

    async def run() -> None:
        async with AsyncClient(server.address) as other:
            contents = [path.read_bytes() for path in paths]
            for images in (paths, contents, list(test_digits[:3]), test_digits[:3]):
                answer = await other.classify(images, include_probabilities=True)
                assert answer.probabilities is not None
                assert answer.probabilities.tobytes() == expected.tobytes()
            with pytest.raises(PictureError, match=r"^images\[1\]: "):
                await other.classify([contents[0], b"%PDF-1.4"])

    asyncio.run(run())


def test_the_model_and_the_health_are_told(server: Any, client: Client) -> None:
    async def run() -> None:
        async with AsyncClient(server.address) as other:
            assert await other.model() == client.model()
            assert await other.ready()

    asyncio.run(run())


def test_nobody_there_is_not_ready(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncClient(f"unix:{tmp_path}/nobody") as nobody:
            assert not await nobody.ready()

    asyncio.run(run())


def test_a_client_has_a_channel() -> None:
    with pytest.raises(ValueError, match="channels is 0; expected at least 1"):
        AsyncClient("localhost:1", channels=0)


def test_it_is_made_anywhere_and_belongs_to_the_loop_of_its_first_call(
    server: Any, test_digits: NDArray[np.uint8]
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
