"""The memory watch: bounds what callers make the server hold, by ending the connections that brought it. Linux only.

For a transport without limits of its own. It works on the sockets of this process and knows no transport.
"""

import array
import ctypes
import fcntl
import logging
import os
import resource
import socket
import stat
import struct
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from digits.protos.address import UNIX
from digits.serve.settings import MB

log = logging.getLogger(__name__)

PAGE = os.sysconf("SC_PAGESIZE")
FASTEST_GROWTH = 4096 * MB  # bytes a second; a sender on the same host makes 1 to 2 GB/s of it
SHORTEST, LONGEST = 0.002, 0.1  # seconds between two samples; to wake up costs up to 0.2 ms of a core
CALM = 0.5  # the pressure up to which snapshots of the connections are taken
SNAPSHOT_EVERY = 1.0  # seconds
TRIM_EVERY = 0.5  # seconds; each trim takes 1 to 2 ms
KEPT = 8 * MB  # below which memory is not given back
SNAPSHOT_SHARE = 0.001  # most of a core that snapshots may cost
PATIENCE, LONG_PATIENCE = 0.05, 1.0  # seconds in which the transport releases what ended connections made it hold
WORTH = 200  # bytes of requests that one byte of answers accounts for: 784 a digit are answered with 5 or more
MOST_RESERVED = 4 * 2**40  # bytes: a call of 5 bytes can reserve 4 GB, and all calls together 128 TB: then Rust aborts
GREETING = 128  # bytes that either side sends before the first call
TCP_BYTES = struct.Struct("=120x2Q")  # tcp_info: tcpi_bytes_acked, tcpi_bytes_received
TCP_ESTABLISHED = 1
UNSPECIFIED = bytes(16)  # a sockaddr of AF_UNSPEC: connecting to it resets a TCP connection and drops what it buffers

_libc = ctypes.CDLL(None)
_trim_heap = getattr(_libc, "malloc_trim", lambda _: 0)  # glibc has it


class Connection(NamedTuple):
    """The bytes that the kernel counts for one caller, in all or since a snapshot."""

    inode: int
    peer: str
    received: int
    answered: int

    @property
    def guilt(self) -> tuple[int, int]:
        """The order in which connections are ended: by the bytes that no answer accounts for, then by all bytes."""
        return max(0, self.received - WORTH * self.answered), self.received


class MemoryWatch:
    """Keeps what callers make this process hold near `limit_bytes`, on top of what it holds when the watch starts.

    It may be more by what arrives between two samples, and by a second copy of the largest message.
    """

    def __init__(self, address: str, limit_bytes: int) -> None:
        """`address` is where the transport listens: HOST:PORT with the real port, or unix:PATH."""
        self._address = address
        self._limit = limit_bytes
        self._snapshot: dict[int, Connection] = {}
        self._next_snapshot = self._next_trim = self._relieved_at = 0.0
        self._relieved = 0.0  # the pressure then
        self._worst = 0  # the greatest recent guilt
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory watch", daemon=True)

    def start(self) -> None:
        """Call it when the server is ready: what is resident now is the server's own."""
        self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        self._own = self._sample()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        os.close(self._statm)

    def _sample(self) -> tuple[int, int]:
        """The bytes of address space that this process has reserved, and those of them that are in RAM."""
        reserved, resident = os.pread(self._statm, 256, 0).split()[:2]
        return int(reserved) * PAGE, int(resident) * PAGE

    def _pressure(self) -> float:
        """What callers make this process hold, as a share of what they may."""
        reserved, resident = (now - own for now, own in zip(self._sample(), self._own, strict=True))
        return max(resident / self._limit, reserved / MOST_RESERVED)

    def _watch(self) -> None:
        pressure = 0.0
        while not self._stopped.wait(min(LONGEST, max(SHORTEST, (1 - pressure) * self._limit / FASTEST_GROWTH))):
            pressure = self._pressure()
            now = time.monotonic()
            if pressure > min(CALM, KEPT / self._limit) and now >= self._next_trim:
                _trim_heap(0)  # the C library keeps freed memory for later
                self._next_trim = time.monotonic() + TRIM_EVERY
                pressure = self._pressure()
            if pressure > 1:
                self._relieve(pressure)
            elif pressure <= CALM and now >= self._next_snapshot:
                self._snapshot = {c.inode: c for c in self._connections()}
                self._next_snapshot = now + max(SNAPSHOT_EVERY, (time.monotonic() - now) / SNAPSHOT_SHARE)

    def _relieve(self, pressure: float) -> None:
        """Ends the guiltiest connections, that sent half the limit; those without guilt only if nothing else helps."""
        waited, grown = time.monotonic() - self._relieved_at, pressure - self._relieved
        if waited < PATIENCE and grown < 1 / 8:
            return
        ranked = sorted(map(self._since_snapshot, self._connections()), key=lambda c: c.guilt, reverse=True)
        worst = ranked[0].guilt[0] if ranked else 0
        self._worst = worst if waited > LONG_PATIENCE else max(worst, self._worst)
        guilty = max(1, self._worst // 16)  # a caller may have a call or two that are not answered yet
        if worst < guilty and waited < LONG_PATIENCE and grown < 1:
            return
        chosen: dict[int, int] = {}  # the bytes received, by inode
        for connection in ranked:
            if chosen and (sum(chosen.values()) >= self._limit // 2 or connection.guilt[0] < guilty):
                break
            chosen[connection.inode] = connection.received
        self._end(chosen)
        self._relieved, self._relieved_at = pressure, time.monotonic()
        self._next_trim = self._relieved_at + PATIENCE

    def _since_snapshot(self, now: Connection) -> Connection:
        """What was counted since the last snapshot, or since the greeting."""
        before = self._snapshot.get(now.inode, now._replace(received=GREETING, answered=GREETING))
        received, answered = max(0, now.received - before.received), max(0, now.answered - before.answered)
        return now._replace(received=received, answered=answered)

    def _connections(self) -> list[Connection]:
        return [connection for _, connection in connections(self._address)]

    def _end(self, chosen: dict[int, int]) -> None:
        """Ends these connections at once: what they sent and was not read yet is not read."""
        for opened, connection in connections(self._address):
            if connection.inode in chosen:
                if opened.family == socket.AF_UNIX or _libc.connect(opened.fileno(), UNSPECIFIED, len(UNSPECIFIED)):
                    with suppress(OSError):  # it has ended by itself
                        opened.shutdown(socket.SHUT_RDWR)
                what = "ended the connection of %s: %.1f MB received, %d MB in RAM, limit %d MB"
                resident, limit = self._sample()[1] // MB, (self._own[1] + self._limit) // MB
                log.warning(what, connection.peer, chosen[connection.inode] / MB, resident, limit)


def connections(address: str) -> Iterator[tuple[socket.socket, Connection]]:
    """The open connections that this process accepted at the address; works if no descriptor is left to open."""
    try:
        descriptors = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        descriptors = list(range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile, or not connected
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                borrowed = socket.socket(fileno=descriptor)
                try:
                    if found := _examine(borrowed, address):
                        yield borrowed, found
                finally:
                    borrowed.detach()


def _examine(opened: socket.socket, address: str) -> Connection | None:
    """The socket as a caller's connection, or None if it is another socket. Raises OSError if it is not connected."""
    inode, local, peer = os.fstat(opened.fileno()).st_ino, opened.getsockname(), opened.getpeername()
    if address.startswith(UNIX):
        waiting = array.array("i", [0])
        if opened.family != socket.AF_UNIX or local != address.removeprefix(UNIX):
            return None
        fcntl.ioctl(opened, termios.FIONREAD, waiting)  # the kernel does not count what came before
        return Connection(inode, address, waiting[0], 0)
    if opened.family == socket.AF_UNIX or local[1] != int(address.rpartition(":")[2]):
        return None
    info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    if info[0] != TCP_ESTABLISHED:
        return None
    answered, received = TCP_BYTES.unpack_from(info)
    return Connection(inode, f"{peer[0]}:{peer[1]}", received, answered)
