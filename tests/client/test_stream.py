"""`stream` of both clients: in order, no further ahead than the window, not ended by a bad item or a lost server."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from digits.client import AsyncClient, Client, Predictions, RequestError
from digits.images.errors import ArrayError, PictureError
from digits.protos.digits.v1 import digits_pb2

Connect = Callable[..., Any]
Pixels = NDArray[np.uint8]
ITEMS = 60


@pytest.fixture
def expected(client: Client, test_digits: Pixels) -> list[int]:
    """The digits of the first test images, from one call."""
    return [int(digit) for digit in client.classify(test_digits[:ITEMS]).digits]


def image(number: int) -> Pixels:
    """One that the scripted server takes for this number."""
    return np.full((28, 28), number, np.uint8)


def digits_of(answers: Iterable[Predictions]) -> list[int]:
    return [int(digit) for answer in answers for digit in answer.digits]


@pytest.mark.parametrize("window", [1, 7, 64, 500])
def test_answers_come_in_the_order_of_their_items(
    server: Any, connect: Connect, test_digits: Pixels, expected: list[int], tmp_path: Path, window: int
) -> None:
    """Each item is what `classify` takes."""
    path = tmp_path / "digit.png"
    Image.fromarray(test_digits[3]).save(path)
    items = [
        test_digits[0],
        test_digits[1:3],
        path,
        [path.read_bytes(), test_digits[4]],
        str(path),
        *test_digits[5:ITEMS],
    ]
    with connect(server.address, channels=2) as client:
        answers = list(client.stream(items, window=window, include_probabilities=True, priority=1))
    assert [len(answer) for answer in answers[:6]] == [1, 2, 1, 2, 1, 1]
    assert digits_of(answers) == [*expected[:4], *expected[3:5], expected[3], *expected[5:]]
    for answer in answers:
        assert answer.probabilities.shape == (len(answer), 10)
        assert answer.timing.queue + answer.timing.compute < answer.timing.total
        assert answer.timing.batch_size >= 1


@pytest.mark.parametrize("window", [1, 5])
def test_items_are_drawn_no_further_ahead_than_the_window(
    server: Any, connect: Connect, test_digits: Pixels, window: int
) -> None:
    """So with a window of one, an item may depend on the answer before it. A task may draw while one is handed out."""
    drawn, handed_out = 0, int(connect is not Client)

    def items() -> Iterator[Pixels]:
        nonlocal drawn
        for drawn in range(1, ITEMS + 1):
            assert drawn - handed_out <= window
            yield test_digits[drawn]

    with connect(server.address) as client:
        for answer in client.stream(items(), window=window):
            handed_out += len(answer)
        assert drawn == ITEMS
        with pytest.raises(ValueError, match="window is 0; expected at least 1 item"):
            client.stream(items(), window=0)


def test_an_item_is_sent_while_the_source_waits_for_the_next_one(scripted: Any, connect: Connect) -> None:
    """As from a source of one item a second: a call does not wait for more items."""
    arrived = threading.Semaphore(0)
    scripted.before = lambda _images, _context: arrived.release()

    def items() -> Iterator[Pixels]:
        for number in range(5):
            yield image(number)
            assert arrived.acquire(timeout=60)

    async def asynchronous_items() -> AsyncIterator[Pixels]:
        for number in range(5):
            yield image(number)
            assert await asyncio.to_thread(arrived.acquire, timeout=60)

    with connect(scripted.address) as client:
        source = items() if isinstance(client, Client) else asynchronous_items()
        assert digits_of(client.stream(source)) == list(range(5))
    assert scripted.calls == [[number] for number in range(5)]


def test_items_of_a_fast_source_share_calls_of_half_a_window(scripted: Any, connect: Connect) -> None:
    """The first calls are answered when the whole window is drawn."""
    drawn = threading.Event()
    scripted.before = lambda _images, _context: drawn.wait(60)

    def items() -> Iterator[Pixels]:
        for number in range(64):
            yield image(number)
            if number == 62:
                drawn.set()

    with connect(scripted.address) as client:
        assert digits_of(client.stream(items(), window=64)) == list(range(64))
    assert len(scripted.calls) <= 4
    assert max(map(len, scripted.calls)) <= 32


def test_a_bad_item_of_64_fails_alone(scripted: Any, connect: Connect) -> None:
    """The server refuses the call that it shares; the others of that call are asked for again, one by one."""

    def refuse(images: list[int], context: grpc.ServicerContext) -> None:
        if 40 in images:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad")

    scripted.before = refuse
    with connect(scripted.address) as client:
        answers = list(client.stream(map(image, range(64)), return_exceptions=True))
        assert digits_of(answers[:40] + answers[41:]) == [*range(40), *range(41, 64)]
        assert str(answers[40]) == f"{scripted.address}: INVALID_ARGUMENT: bad"
        with pytest.raises(RequestError):
            list(client.stream(map(image, range(64))))


def test_a_bad_item_or_source_is_raised_or_returned_in_its_turn(
    server: Any, connect: Connect, test_digits: Pixels, tmp_path: Path
) -> None:
    """The answers before it are handed out first, although what comes after it was drawn long ago."""

    def broken() -> Iterator[Pixels]:
        yield test_digits[0]
        raise LookupError("no more")

    bad = {b"%PDF-1.4": PictureError, tmp_path / "none.png": FileNotFoundError}
    with connect(server.address) as client:
        for item, kind in [*bad.items(), (np.zeros((28, 27)), ArrayError)]:
            items: list[Any] = [test_digits[0], test_digits[1], item, test_digits[2]]
            stream = client.stream(items)
            assert len([next(stream), next(stream)]) == 2
            with pytest.raises(kind):
                next(stream)
            answers = list(client.stream(items, return_exceptions=True))
            assert list(map(type, answers)) == [Predictions, Predictions, kind, Predictions]
        stream = client.stream(broken(), return_exceptions=True)
        assert len(next(stream)) == 1
        with pytest.raises(LookupError, match="no more"):
            next(stream)


def test_a_refused_item_fails_and_the_next_one_is_split_by_the_new_limits(
    small: Any, connect: Connect, test_digits: Pixels, expected: list[int]
) -> None:
    """As after a restart with smaller limits."""
    with connect(small.address) as client:
        client._calls.limits = digits_pb2.Limits(max_batch_size=1024, max_message_bytes=2**24)
        items = [test_digits[0], test_digits[:40], test_digits[1]]
        _, refused, _ = client.stream(items, return_exceptions=True, window=1)
        assert isinstance(refused, RequestError)
        assert "max_batch_size is 16" in str(refused)
        sizes = [40, 1, 17, 2]
        answers = list(client.stream(np.split(test_digits[:ITEMS], np.cumsum(sizes)[:-1])))
    assert [len(answer) for answer in answers] == sizes
    assert digits_of(answers) == expected


def test_a_stream_that_is_closed_early_leaves_no_thread_behind(client: Client, test_digits: Pixels) -> None:
    before = set(threading.enumerate())
    drawn = 0

    def endless() -> Iterator[Pixels]:
        nonlocal drawn
        while True:
            drawn += 1
            yield test_digits[0]

    with contextlib.closing(client.stream(endless(), window=4)) as stream:
        for _ in range(10):
            next(stream)
    assert drawn <= 14
    for thread in set(threading.enumerate()) - before:  # gRPC's own may still be ending
        thread.join(30)
        assert not thread.is_alive(), thread
    assert len(client.classify(test_digits[0])) == 1


def test_a_stream_that_is_closed_early_leaves_no_task_behind(server: Any, test_digits: Pixels) -> None:
    """Nor does it wait for an item that never comes before it hands out an answer."""

    async def run() -> None:
        never = asyncio.Event()

        async def items() -> AsyncIterator[Pixels]:
            for digit in test_digits[:10]:
                yield digit
            await never.wait()

        async with AsyncClient(server.address) as client:
            before = asyncio.all_tasks()
            async with contextlib.aclosing(client.stream(items())) as stream:
                for _ in range(10):
                    await anext(stream)
            left = asyncio.all_tasks() - before
            if left:  # gRPC's own may still be ending
                await asyncio.wait(left, timeout=30)
            assert not asyncio.all_tasks() - before
            assert len(await client.classify(test_digits[0])) == 1

    asyncio.run(run())
