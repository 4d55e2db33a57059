"""`stream` of both clients: in order, no further ahead than asked, and not ended by a bad item or a lost server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from PIL import Image

from digits.client import AsyncClient, Client, DeadlineError, Predictions, RequestError, UnavailableError
from digits.client.local import LocalClassifier
from digits.images.errors import ArrayError, PictureError
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.tests.client.conftest import ScriptedServer

ITEMS = 60
BATCH = 16


async def drained(stream: AsyncIterator[Any]) -> list[Any]:
    return [answer async for answer in stream]


def sync(address: str, items: Iterable[Any], **options: Any) -> list[Any]:
    """What a client's stream gives for some items at an address."""
    with Client(address) as client:
        return list(client.stream(items, **options))


def asynchronous(address: str, items: Iterable[Any], **options: Any) -> list[Any]:
    """The same of the other client's."""

    async def run() -> list[Any]:
        async with AsyncClient(address) as client:
            return await drained(client.stream(items, **options))

    return asyncio.run(run())


@pytest.fixture(params=[sync, asynchronous], ids=["sync", "async"])
def streamed(request: pytest.FixtureRequest) -> Callable[..., list[Any]]:
    """Either of them."""
    chosen: Callable[..., list[Any]] = request.param
    return chosen


@pytest.fixture(scope="module")
def small(serving: Callable[..., Any], models: Path, transport: str) -> Iterator[Any]:
    """A server that takes 5 ms a batch of at most 16 images, and lets one call wait."""
    limits = ("--max-batch-size", BATCH, "--max-queue-size", 1, "--slow-down-microseconds", 5_000)
    with serving("--models", models, "--precision", "int8", "--transport", transport, "--no-warmup", *limits) as server:
        yield server


@pytest.fixture
def expected(client: Client, test_digits: NDArray[np.uint8]) -> list[int]:
    """The digits of the first test images, from one call."""
    return [int(digit) for digit in client.classify(test_digits[:ITEMS]).digits]


def image(number: int) -> NDArray[np.uint8]:
    """One that the scripted server takes for this number."""
    return np.full((28, 28), number, np.uint8)


def digits_of(answers: Iterable[Predictions]) -> list[int]:
    return [int(digit) for answer in answers for digit in answer.digits]


@pytest.mark.parametrize("window", [1, 7, 64, 500])
def test_answers_come_in_the_order_of_their_items(
    server: Any, streamed: Callable[..., Any], test_digits: NDArray[np.uint8], expected: list[int], window: int
) -> None:
    answers = streamed(server.address, test_digits[:ITEMS], window=window, include_probabilities=True, priority=1)
    assert digits_of(answers) == expected
    for answer in answers:
        assert answer.probabilities.shape == (1, 10)
        assert answer.timing.queue + answer.timing.compute < answer.timing.total
        assert answer.timing.batch_size >= 1


def test_an_item_is_what_classify_takes(
    server: Any, streamed: Callable[..., Any], test_digits: NDArray[np.uint8], expected: list[int], tmp_path: Path
) -> None:
    path, other = tmp_path / "digit.png", tmp_path / "other.png"
    Image.fromarray(test_digits[3]).save(path)
    Image.fromarray(test_digits[4]).save(other)
    items = [test_digits[0], test_digits[1:3], path, [other.read_bytes(), test_digits[5]], str(path)]
    answers = streamed(server.address, items)
    assert [len(answer) for answer in answers] == [1, 2, 1, 2, 1]
    assert digits_of(answers) == [*expected[:6], expected[3]]


def test_items_are_drawn_no_further_ahead_than_the_window(client: Client, test_digits: NDArray[np.uint8]) -> None:
    drawn = handed_out = 0

    def items() -> Iterator[NDArray[np.uint8]]:
        nonlocal drawn
        for drawn in range(1, ITEMS + 1):
            assert drawn - handed_out <= 5
            yield test_digits[drawn]

    for answer in client.stream(items(), window=5):
        handed_out += len(answer)
    assert handed_out == drawn == ITEMS


def test_a_window_of_one_gives_the_answer_before_the_next_item_is_drawn(
    client: Client, test_digits: NDArray[np.uint8], expected: list[int]
) -> None:
    """So an item may depend on the answer before it."""
    answers: list[Predictions] = []

    def items() -> Iterator[NDArray[np.uint8]]:
        for i in range(10):
            assert digits_of(answers) == expected[:i]
            yield test_digits[i]

    for answer in client.stream(items(), window=1):
        answers += [answer]
    assert len(answers) == 10
    with pytest.raises(ValueError, match="window is 0; expected at least 1 item"):
        client.stream(items(), window=0)


def test_asyncio_gets_an_answer_even_if_the_next_item_never_comes(server: Any, test_digits: NDArray[np.uint8]) -> None:
    async def run() -> None:
        answered = asyncio.Event()

        async def items() -> AsyncIterator[NDArray[np.uint8]]:
            yield test_digits[0]
            await answered.wait()
            yield test_digits[1]

        async with AsyncClient(server.address) as client:
            async for _ in client.stream(items()):
                answered.set()

    asyncio.run(run())


def test_an_item_is_sent_while_the_source_waits_for_the_next_one(
    scripted: ScriptedServer, connect: Callable[..., Any]
) -> None:
    """As from a source of one item a second: no call waits for company."""
    arrived = threading.Semaphore(0)
    scripted.before = lambda _images, _context: arrived.release()

    def items() -> Iterator[NDArray[np.uint8]]:
        for number in range(5):
            yield image(number)
            assert arrived.acquire(timeout=60)

    async def asynchronous_items() -> AsyncIterator[NDArray[np.uint8]]:
        for number in range(5):
            yield image(number)
            assert await asyncio.to_thread(arrived.acquire, timeout=60)

    with connect(scripted.address) as client:
        source = items() if isinstance(client, Client) else asynchronous_items()
        assert digits_of(client.stream(source)) == list(range(5))
    assert scripted.calls == [[number] for number in range(5)]


def test_items_of_a_fast_source_share_calls_of_half_a_window(
    scripted: ScriptedServer, connect: Callable[..., Any]
) -> None:
    """The first calls are answered when the whole window is drawn."""
    drawn = threading.Event()
    scripted.before = lambda _images, _context: drawn.wait(60)

    def items() -> Iterator[NDArray[np.uint8]]:
        for number in range(64):
            yield image(number)
            if number == 62:
                drawn.set()

    with connect(scripted.address) as client:
        assert digits_of(client.stream(items(), window=64)) == list(range(64))
    assert len(scripted.calls) <= 4
    assert max(map(len, scripted.calls)) <= 32


def test_a_bad_item_of_64_fails_alone(scripted: ScriptedServer, connect: Callable[..., Any]) -> None:
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


def test_a_bad_item_is_raised_in_its_turn(client: Client, test_digits: NDArray[np.uint8], tmp_path: Path) -> None:
    """What stands before it has been handed out, although what comes after it was drawn long ago."""
    for bad, kind in ((b"%PDF-1.4", PictureError), (tmp_path / "none.png", OSError), (np.zeros(3), ValueError)):
        items: list[Any] = [test_digits[0], test_digits[1], bad, test_digits[2]]
        stream = client.stream(items)
        assert len([next(stream), next(stream)]) == 2
        with pytest.raises(kind):
            next(stream)


def test_errors_may_be_had_in_the_places_of_their_items(
    server: Any, streamed: Callable[..., Any], test_digits: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Whether they are found here or there."""
    items = [test_digits[0], b"%PDF-1.4", tmp_path / "none.png", np.zeros((28, 27)), test_digits[1]]
    answers = streamed(server.address, items, return_exceptions=True)
    kinds = [Predictions, PictureError, FileNotFoundError, ArrayError, Predictions]
    assert list(map(type, answers)) == kinds
    late = streamed(server.address, test_digits[:5], return_exceptions=True, timeout=1e-6)
    assert list(map(type, late)) == [DeadlineError] * 5
    assert late[0].code == "DEADLINE_EXCEEDED"
    with pytest.raises(DeadlineError):
        streamed(server.address, test_digits[:5], timeout=1e-6)


def test_an_error_of_the_servers_is_one_of_its_items(
    small: Any, test_digits: NDArray[np.uint8], expected: list[int]
) -> None:
    """As of a server that was restarted with smaller limits: the next item is cut by those."""
    with Client(small.address) as client:
        client._calls.limits = digits_pb2.Limits(max_batch_size=1024, max_message_bytes=2**24)
        items = [test_digits[0], test_digits[:40], test_digits[1]]
        one, refused, other = client.stream(items, return_exceptions=True, window=1)
        assert isinstance(refused, RequestError)
        assert refused.code == "INVALID_ARGUMENT"
        assert "max_batch_size is 16" in str(refused)
        assert isinstance(one, Predictions)
        assert isinstance(other, Predictions)
        (again,) = client.stream([test_digits[:40]])
        assert digits_of([again]) == expected[:40]


def test_an_exception_of_the_source_is_raised_after_the_answers(
    server: Any, streamed: Callable[..., Any], test_digits: NDArray[np.uint8]
) -> None:
    """Even where errors of items are returned."""

    def items() -> Iterator[NDArray[np.uint8]]:
        yield from test_digits[:3]
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        streamed(server.address, items(), return_exceptions=True)
    with Client(server.address) as client:
        stream = client.stream(items())
        assert [len(next(stream)) for _ in range(3)] == [1, 1, 1]
        with pytest.raises(LookupError, match="no more"):
            next(stream)


def test_what_exceeds_the_limits_is_cut_and_what_is_refused_is_sent_again(
    small: Any, streamed: Callable[..., Any], test_digits: NDArray[np.uint8], expected: list[int]
) -> None:
    """A stream without this library has requests refused there, in the end."""
    messages = [
        digits_pb2.ClassifyStreamRequest(request=digits_pb2.ClassifyRequest(pixels=digit.tobytes()))
        for digit in test_digits[:ITEMS]
    ]
    with grpc.insecure_channel(small.address) as channel:
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        while not any(answer.error.retry_after_ms for answer in stub.ClassifyStream(iter(messages), timeout=60)):
            pass
    answers = streamed(small.address, test_digits[:ITEMS])
    assert digits_of(answers) == expected
    sizes = [40, 1, 17, 2]
    answers = streamed(small.address, np.split(test_digits[:ITEMS], np.cumsum(sizes)[:-1]))
    assert [len(answer) for answer in answers] == sizes
    assert digits_of(answers) == expected


@pytest.mark.parametrize(
    ("streamed", "transport", "ends"), [(asynchronous, "native", "terminate"), (sync, "grpcio", "kill")]
)
def test_a_stream_goes_on_at_the_server_that_takes_the_place_of_a_lost_one(
    serving: Callable[..., Any],
    models: Path,
    streamed: Callable[..., Any],
    test_digits: NDArray[np.uint8],
    tmp_path: Path,
    transport: str,
    ends: str,
) -> None:
    """With requests under way, which it gets: each item has its one answer."""
    limits = ("--max-batch-size", 1, "--slow-down-microseconds", 10_000, "--no-warmup", "--lame-duck", 0)
    options = ("--models", models, "--transport", transport, "--precision", "fp32", *limits)
    address = f"unix:{tmp_path}/socket"
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(serving(*options, address=address))

        def items() -> Iterator[NDArray[np.uint8]]:
            yield from test_digits[:30]
            getattr(first.process, ends)()
            first.process.wait(timeout=60)
            servers.enter_context(serving(*options, address=address))
            yield from test_digits[30:ITEMS]

        expected = LocalClassifier(models, precision="fp32").classify(test_digits[:ITEMS]).digits
        assert digits_of(streamed(address, items())) == expected.tolist()


def test_items_without_a_server_fail_when_their_time_is_over(
    streamed: Callable[..., Any], test_digits: NDArray[np.uint8], tmp_path: Path
) -> None:
    """As the error of a single call."""
    answers = streamed(f"unix:{tmp_path}/nobody", test_digits[:3], timeout=2, return_exceptions=True)
    assert list(map(type, answers)) == [UnavailableError] * 3


def test_a_stream_that_is_closed_early_leaves_no_thread_behind(client: Client, test_digits: NDArray[np.uint8]) -> None:
    before = set(threading.enumerate())
    drawn = 0

    def endless() -> Iterator[NDArray[np.uint8]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield test_digits[0]

    with contextlib.closing(client.stream(endless(), window=4)) as stream:
        for _ in range(10):
            next(stream)
    assert drawn <= 14
    for thread in set(threading.enumerate()) - before:  # gRPC's own, on their way out
        thread.join(30)
        assert not thread.is_alive(), thread
    assert len(client.classify(test_digits[0])) == 1


def test_a_stream_that_is_closed_early_leaves_no_task_behind(server: Any, test_digits: NDArray[np.uint8]) -> None:
    async def run() -> None:
        never = asyncio.Event()

        async def items() -> AsyncIterator[NDArray[np.uint8]]:
            for digit in test_digits[:10]:
                yield digit
            await never.wait()

        async with AsyncClient(server.address) as client:
            before = asyncio.all_tasks()
            async with contextlib.aclosing(client.stream(items())) as stream:
                for _ in range(10):
                    await anext(stream)
            left = asyncio.all_tasks() - before
            if left:  # gRPC's own, on their way out
                await asyncio.wait(left, timeout=30)
            assert not asyncio.all_tasks() - before
            assert len(await client.classify(test_digits[0])) == 1

    asyncio.run(run())
