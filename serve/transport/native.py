"""The native transport: pygrpc-native's Rust front takes the hot methods; all others pass through it to grpcio.

The front hands over a batch of calls at a time and queues others meanwhile: it is a batcher's source by nature. What
waits in it is unseen, so each take first takes all of it in, refuses what is too much, and only then makes a batch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import grpc
from pygrpc_native import EVENT_CALL, NativeGrpcFront

from digits.protos.address import UNIX
from digits.serve.errors import CallError, StartError, internal_error
from digits.serve.job import FOREVER, Job, living
from digits.serve.pictures import Pictures
from digits.serve.transport.choice import MAX_METADATA_BYTES

if TYPE_CHECKING:
    from digits.serve.pictures import Decoders
    from digits.serve.queue import JobQueue
    from digits.serve.services import Services
    from digits.serve.settings import ServeSettings

LOOK = 0.002  # seconds between two looks whether all calls are answered
IO_THREADS = 1  # Rust's; a second one only competes with the batcher for the cores
MAX_EVENTS = 4096  # in one take
MAX_STREAMS = 256  # of a connection: each holds its message in Rust, unseen, until it is taken
DETAILS, TIME_LEFT = 5, 2  # where the seconds that a call has left are in an event with details
OK = grpc.StatusCode.OK.value[0]
CODES = {code.name: code.value[0] for code in grpc.StatusCode}
LONG = 0.002  # seconds of a batch, in which more calls may have come than the next one takes
SLEEP = 5e-5  # seconds between two looks in the last millisecond in which a batch waits for company
WAIT = 100  # milliseconds in the front at a time: its end wakes only one of several batchers


class NativeJob(Job):
    """A call of the front's."""

    __slots__ = ("call_id", "transport")

    call_id: int
    transport: NativeTransport

    def answer(self, response: bytes) -> None:
        transport = self.transport
        if transport.respond(self.call_id, response):
            transport.answered += 1
        transport.jobs.pop(self.call_id, None)

    def fail(self, error: CallError) -> None:
        self.transport.fail(self.call_id, error)

    def drop(self) -> None:
        self.transport.jobs.pop(self.call_id, None)


class NativeTransport:
    """A source of jobs for one or several batcher threads.

    Args:
        settings: Address, limits and spin.
        services: The hot methods.
        queue: Admits and orders what the front hands over.
        decoders: Take the jobs with pictures, and pass them on to another batcher's queue: nothing but the front can
            wake a thread that waits for it.
        fallback: The grpcio server's Unix socket.
        reuse_port: Whether other processes listen at the same port.

    Attributes:
        address: Where it listens, with the real port.
        jobs: By the front's number of their calls, those that are accepted and not answered.
        answered: How many calls have got a response.
        respond: Sends a response: respond(call_id, response) tells whether its caller was still there.
    """

    def __init__(
        self,
        settings: ServeSettings,
        services: Services,
        queue: JobQueue,
        decoders: Decoders,
        fallback: str,
        *,
        reuse_port: bool,
    ) -> None:
        """Binds the address without serving it yet. Raises StartError if it cannot be had."""
        self._spin = settings.spin_microseconds / 1e6
        self._services = services
        self._queue = queue
        self._decoders = decoders
        self.jobs: dict[int, NativeJob] = {}
        self.answered = 0
        self._at_once = not queue.policy.max_queue_delay
        self._behind = False  # whether calls may wait in the front
        self._methods = list(services.hot.values())
        try:
            self._front = NativeGrpcFront(
                settings.address,
                [(method, False) for method in services.hot],
                io_threads=IO_THREADS,
                call_details=True,
                metrics=True,  # to know what has left when it drains
                max_concurrent_streams=MAX_STREAMS,
                max_metadata_size=MAX_METADATA_BYTES,
                reuse_port=reuse_port,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StartError(f"cannot listen on {settings.address}: {error}; give another --address") from error
        self.respond = self._front.respond
        self._front.set_fallback(fallback.removeprefix(UNIX))
        host = settings.address.rpartition(":")[0]
        unix = settings.address.startswith(UNIX)
        self.address = settings.address if unix else f"{host}:{self._front.bound_port}"

    def start(self) -> None:
        self._front.start()

    def take(self) -> list[Job] | None:
        """As JobQueue.take; None once the front is closed. Jobs that need not wait do not pass through the queue."""
        while (events := self._look_around() if self._queue or self._behind else self._wait_for_call()) is not None:
            jobs = self._accepted(events)
            if jobs and self._at_once and not self._queue and self._fit(jobs):
                if alive := living(jobs):
                    return alive
                continue
            for job in jobs:
                self._put(job)
            if jobs := self._queue.take_ready():
                return jobs
        return None

    def ran(self, images: int, seconds: float) -> None:
        self._queue.ran(images, seconds)
        self._behind = seconds > LONG

    def drain(self, end: float) -> bool:
        """Ends when the answers to all accepted calls have left, at `end` at the latest; whether they have."""
        self._queue.close()
        while (left := bool(self.jobs) or self._holds_answers()) and time.monotonic() < end:
            time.sleep(LOOK)
        return not left

    def close(self) -> None:
        """Ends all takes and closes the port. Answers that are still in the front's buffers are lost: drain first."""
        self._front.close()

    def fail(self, call_id: int, error: CallError) -> None:
        """The one place where an error becomes a status of the front's."""
        self._services.count(error)
        self._front.fail(call_id, CODES[error.code], str(error), error.trailing_metadata)
        self.jobs.pop(call_id, None)

    def _holds_answers(self) -> bool:
        """Whether answers are in the front's buffers still, as for a caller that is slow to read.

        What has left is counted with its status. A call that was cancelled meanwhile never is; but then a moment comes
        in which the front holds nothing at all.
        """
        counted = cast("dict[str, Any]", self._front.metrics())["methods"].values()
        sent = sum(method["status"].get(OK, {"count": 0})["count"] for method in counted)
        ended = sum(status["count"] for method in counted for status in method["status"].values())
        started = sum(method["started"] for method in counted)
        return bool(sent < self.answered and ended < started)

    def _wait_for_call(self) -> list[Any] | None:
        """Without the time that calls have left: nobody waits before them, and the front watches deadlines itself.

        To ask for it takes as long as all else that is done to a small call.
        """
        if self._spin:
            end = time.monotonic() + self._spin
            while time.monotonic() < end:
                if (events := self._front.recv_batch(MAX_EVENTS, 0)) != []:
                    return events
        return self._front.recv_batch(MAX_EVENTS, WAIT)

    def _look_around(self) -> list[Any] | None:
        """What has come while others waited or a long batch ran, with the time left, which admission asks for."""
        self._behind = False
        ready_in = self._queue.ready_in() or 0.0
        events = self._front.recv_batch_details(MAX_EVENTS, min(WAIT, int(1000 * ready_in)))
        if events == [] and 0 < ready_in < 1e-3:  # noqa: PLR2004 the front counts in milliseconds
            time.sleep(min(ready_in, SLEEP))
        return events

    def _accepted(self, events: list[Any]) -> list[Job]:
        """The jobs of new calls, but for those that are answered with a status or have pictures to decode first."""
        arrived = time.monotonic()
        jobs: list[Job] = []
        for event in events:
            if event[0] == EVENT_CALL:
                if job := self._accept(event, arrived):
                    jobs.append(job)
            elif cancelled := self.jobs.get(event[1]):
                cancelled.cancel()
        return jobs

    def _accept(self, event: Any, arrived: float) -> Job | None:
        call_id = event[1]
        try:
            request = self._services.accept(self._methods[event[2]], event[3])
            left = event[DETAILS][TIME_LEFT] if len(event) > DETAILS else None
            job = NativeJob(request, arrived, FOREVER if left is None else arrived + left)
            job.transport, job.call_id = self, call_id
            self.jobs[call_id] = job
            if not isinstance(request, Pictures):
                return job
            self._decoders.put(job, request)
        except CallError as error:
            self.fail(call_id, error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
            self.fail(call_id, internal_error("a call could not be accepted", unforeseen))
        return None

    def _fit(self, jobs: list[Job]) -> bool:
        """Whether they are no more than one batch."""
        most = self._queue.policy.max_batch_size
        return len(jobs) <= most and sum([job.request.count for job in jobs]) <= most

    def _put(self, job: Job) -> None:
        try:
            self._queue.put(job)
        except CallError as error:
            job.fail(error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
            job.fail(internal_error("a call could not be queued", unforeseen))
