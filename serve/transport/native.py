"""The native transport: pygrpc-native's HTTP/2 frontend takes the hot methods; all others pass through it to grpcio.

The frontend hands over all calls that have arrived and queues others meanwhile: it is a natural source of a batcher.
Its queue is not visible, so each take first empties it, refuses what is too much, and only then makes a batch.
"""

import logging
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import grpc
from pygrpc_native import EVENT_CALL, NativeGrpcFront

from digits.protos.address import UNIX
from digits.serve.errors import CallError, MessageTooLarge, StartError, call_error
from digits.serve.job import FOREVER, Job, living
from digits.serve.pictures import Pictures
from digits.serve.process.memory_watch import connections
from digits.serve.process.threads import CallThreads
from digits.serve.queue import JobQueue
from digits.serve.services import Services
from digits.serve.settings import ServeSettings
from digits.serve.transport.grpcio import GrpcioTransport
from digits.serve.transport.transport import LINGER, MAX_METADATA_BYTES, Transport

SOCKET = "grpcio"  # the private one
LOOK = 0.002  # seconds between two looks whether all calls are answered
IO_THREADS = 1  # Rust's; a second one only competes with the batcher for the cores
MAX_EVENTS = 4096  # in one take
MAX_STREAMS = 256  # of a connection: each holds its message in Rust, unseen, until it is taken
DETAILS, TIME_LEFT = 5, 2  # where the seconds that a call has left are in an event with details
OK = grpc.StatusCode.OK.value[0]
CODES = {code.name: code.value[0] for code in grpc.StatusCode}
LONG = 0.002  # seconds of a batch, in which more calls may have come than the next one takes
SLEEP = 5e-5  # seconds between two looks in the last millisecond in which a batch waits for more calls
WAIT = 100  # milliseconds of one wait in the frontend: closing it wakes only one of several batchers

log = logging.getLogger(__name__)


class NativeJob(Job):
    """A call of the frontend's."""

    __slots__ = ("call_id", "transport")

    call_id: int
    transport: "NativeTransport"

    def answer(self, response: bytes) -> None:
        transport = self.transport
        if transport.respond(self.call_id, response):
            transport.answered += 1
        transport.jobs.pop(self.call_id, None)

    def fail(self, error: CallError) -> None:
        self.transport.fail(self.call_id, error)

    def drop(self) -> None:
        self.transport.jobs.pop(self.call_id, None)


class NativeTransport(Transport):
    """The Rust frontend, and the grpcio transport behind it on a private Unix socket.

    Jobs with pictures go to the grpcio transport's decoders and queue: a thread that waits in the frontend is woken by
    calls only.
    """

    calls_hold_threads = False

    def __init__(
        self, settings: ServeSettings, services: Services, threads: CallThreads, *, reuse_port: bool = False
    ) -> None:
        self._spin = settings.spin_microseconds / 1e6
        self._max_message_bytes = settings.max_message_bytes
        self._max_batch_size = settings.max_batch_size
        self._at_once = not settings.max_queue_delay_microseconds
        self._shared = reuse_port
        self._services = services
        self._methods = list(services.hot.values())
        self._queue = JobQueue(settings)
        self._folder = private_folder(settings.runtime_dir, SOCKET)
        private = f"{UNIX}{self._folder.name}/{SOCKET}"
        self._behind = GrpcioTransport(replace(settings, address=private), services, threads)
        self.health = self._behind.health
        self.sources = [*self._behind.sources, self]
        self.jobs: dict[int, NativeJob] = {}  # accepted calls that are not answered yet, by the frontend's number
        self.answered = 0  # how many calls have got a response
        self._backlog = False  # whether calls may wait in the frontend
        try:
            self._front = NativeGrpcFront(
                settings.address,
                [(method, False) for method in services.hot],
                io_threads=IO_THREADS,
                call_details=True,
                metrics=True,  # to know which answers were sent when it drains
                max_concurrent_streams=MAX_STREAMS,
                max_metadata_size=MAX_METADATA_BYTES,
                reuse_port=reuse_port,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StartError(f"cannot listen on {settings.address}: {error}; give another --address") from error
        self.respond = self._front.respond  # respond(call_id, response) tells whether its caller was still there
        self._front.set_fallback(private.removeprefix(UNIX))
        host, unix = settings.address.rpartition(":")[0], settings.address.startswith(UNIX)
        self.address = settings.address if unix else f"{host}:{self._front.bound_port}"
        self.warmup_address = private if reuse_port else self.address

    def start(self) -> None:
        self._behind.start()
        if not self._shared:
            self._front.start()

    def open(self) -> None:
        if self._shared:  # others' calls come as soon as it listens
            self._front.start()

    def drain(self, end: float) -> bool:
        self._behind.close_queue(end)
        self._queue.close()
        while (left := bool(self.jobs) or self._holds_answers()) and time.monotonic() < end:
            time.sleep(LOOK)
        stopped = self._behind.stop(end)
        before, received = -1, 0
        while before != received and time.monotonic() < end:  # what passed through may still be in its buffers
            time.sleep(LINGER)
            before, received = received, sum(each.answered for _, each in connections(self.address))
        self._front.close()  # answers in its buffers are lost
        self._folder.cleanup()
        return stopped and not left

    def take(self) -> list[Job] | None:
        """As JobQueue.take; None once the frontend is closed. Jobs that need not wait do not pass through the queue."""
        while (events := self._look_around() if self._queue or self._backlog else self._wait_for_call()) is not None:
            jobs = self._accepted(events)
            images = sum([job.request.count for job in jobs])
            if jobs and self._at_once and not self._queue and images <= self._max_batch_size:
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
        self._backlog = seconds > LONG

    def fail(self, call_id: int, error: CallError) -> None:
        """The one place where an error becomes a status of the frontend's."""
        self._services.count(error)
        self._front.fail(call_id, CODES[error.code], str(error), error.trailing_metadata)
        self.jobs.pop(call_id, None)

    def _holds_answers(self) -> bool:
        """Whether answers are still in the frontend's buffers, as for a caller that is slow to read.

        An answer that was sent is counted with its status. A call that was cancelled meanwhile never is; but then a
        moment comes in which the frontend holds nothing.
        """
        counted = cast("dict[str, Any]", self._front.metrics())["methods"].values()
        sent = sum(method["status"].get(OK, {"count": 0})["count"] for method in counted)
        ended = sum(status["count"] for method in counted for status in method["status"].values())
        return bool(sent < self.answered and ended < sum(method["started"] for method in counted))

    def _wait_for_call(self) -> list[Any] | None:
        """Without the time that calls have left: no call waits before them, and the frontend watches deadlines itself.

        To ask for that time takes as long as everything else that is done for a small call.
        """
        if self._spin:
            end = time.monotonic() + self._spin
            while time.monotonic() < end:
                if (events := self._front.recv_batch(MAX_EVENTS, 0)) != []:
                    return events
        return self._front.recv_batch(MAX_EVENTS, WAIT)

    def _look_around(self) -> list[Any] | None:
        """What has arrived while others waited or a long batch ran, with the time left, which admission needs."""
        self._backlog = False
        ready_in = self._queue.ready_in() or 0.0
        events = self._front.recv_batch_details(MAX_EVENTS, min(WAIT, int(1000 * ready_in)))
        if events == [] and 0 < ready_in < 1e-3:  # noqa: PLR2004 the frontend counts in milliseconds
            time.sleep(min(ready_in, SLEEP))
        return events

    def _accepted(self, events: list[Any]) -> list[Job]:
        """The jobs of new calls, except those that are answered with a status or have pictures to decode first."""
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
        call_id, message = event[1], event[3]
        try:
            if len(message) > self._max_message_bytes:
                raise MessageTooLarge(len(message), self._max_message_bytes)  # noqa: TRY301 answered below
            request = self._services.accept(self._methods[event[2]], message)
            left = event[DETAILS][TIME_LEFT] if len(event) > DETAILS else None
            job = NativeJob(request, arrived, FOREVER if left is None else arrived + left)
            job.transport, job.call_id = self, call_id
            self.jobs[call_id] = job
            if not isinstance(request, Pictures):
                return job
            self._behind.decoders.put(job, request)
        except Exception as error:  # noqa: BLE001 answered with a status
            self.fail(call_id, call_error("a call could not be accepted", error))
        return None

    def _put(self, job: Job) -> None:
        try:
            self._queue.put(job)
        except Exception as error:  # noqa: BLE001 answered with a status
            job.fail(call_error("a call could not be queued", error))


def private_folder(runtime_dir: Path | None, socket_name: str) -> TemporaryDirectory[str]:
    """Creates a folder of mode 0700, which no other user may enter, where a socket of that name can be bound.

    `runtime_dir` is tried first, then $XDG_RUNTIME_DIR, $TMPDIR, /tmp and /dev/shm. An abstract socket would need no
    folder, but has no permissions: any user could connect. Raises StartError: there is no such place; the message says
    which were tried, and why each is unusable.
    """
    places = (runtime_dir, os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp", "/dev/shm")  # noqa: S108 in a folder of mode 0700
    tried = []
    for place in dict.fromkeys(Path(place) for place in places if place):
        with ExitStack() as stack:
            try:
                folder = TemporaryDirectory(prefix="digits-", dir=place.absolute())
                stack.callback(folder.cleanup)
                path = Path(folder.name, socket_name)
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.bind(str(path))  # fails on some file systems, and with a path longer than 107 bytes
                path.unlink()
            except OSError as error:
                tried.append(f"{place} ({error.strerror or error})")
                continue
            stack.pop_all()
        if tried:
            log.info("the private socket is in %s, not in %s", folder.name, ", ".join(tried))
        return folder
    raise StartError(f"no writable folder for a private socket in {', '.join(tried)}; give one by --runtime-dir")
