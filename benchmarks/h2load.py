"""Load by h2load: many connections, a call at a time on each, and what came back."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.latency import latency_us

H2LOAD = "h2load"
GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]  # its body is framed, and not compressed
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}  # in microseconds

RATE = r"finished in .*?, ([\d.]+) req/s"
REQUESTS = r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
STATUS = r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx"
DATA = r"traffic: .* \((\d+)\) data"
MEAN = r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) "


@dataclass(frozen=True, slots=True)
class Load:
    """What h2load saw. It never looks at grpc-status: a call that failed with one is an answer, but without a body."""

    calls_per_second: float
    answered: int
    failed: int  # no answer, or one without a 2xx
    body_bytes: int  # of all answers
    mean_microseconds: float
    percentiles: dict[str, float] | None = None  # microseconds of a call, where each was written down


def drive(
    address: str,
    method: str,
    message: bytes,
    *,
    connections: int,
    seconds: float | None = None,
    calls: int = 0,
    streams: int = 1,
    per_second: int | None = None,
    each: bool | None = None,
    content_type: str | None = None,
) -> Load:
    """Calls a unary method with the same message for so many seconds, or else so many times.

    With a content type it is a plain POST over HTTP/1.1, without one a call of gRPC.

    `streams` calls at a time on each connection, one as soon as another is answered, or so many `per_second`. `each`
    call is written down for the percentiles, which costs h2load a few percent; the default is for one connection only.
    """
    each = connections == 1 if each is None else each
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(message if content_type else b"\0" + struct.pack(">I", len(message)) + message)
        length = ["-n", str(calls)] if seconds is None else ["-D", f"{round(seconds * 1000)}ms", "--warm-up-time=0"]
        length += ["--rps", str(per_second)] if per_second else []
        command = [_h2load(), "-t", "1", "-m", str(streams), "-c", str(connections), *length, "-d", str(body)]
        command += ["--h1", "-H", f"content-type: {content_type}"] if content_type else GRPC
        command += ["--log-file", str(log)] if each else []
        done = subprocess.run([*command, f"http://{address}{method}"], check=False, capture_output=True, text=True)  # noqa: S603 our own
        if done.returncode:
            raise BenchmarkError(f"h2load ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return parsed(done.stdout, log.read_text(encoding="ascii") if each else None)


def parsed(printed: str, log: str | None = None) -> Load:
    """What h2load printed, and the log file of one connection. Raises BenchmarkError if that is not its output."""
    answered, _, failed, _, _ = map(int, _found(REQUESTS, printed))  # failed has the errored, and they the timeouts
    not_2xx = sum(map(int, _found(STATUS, printed)[1:]))  # some of them may be among the failed
    mean, unit = _found(MEAN, printed)
    return Load(
        calls_per_second=float(_found(RATE, printed)[0]),
        answered=answered,
        failed=max(failed, not_2xx),
        body_bytes=int(_found(DATA, printed)[0]),
        mean_microseconds=float(mean) * UNITS[unit],
        percentiles=None if log is None else _percentiles(log),
    )


def installed() -> bool:
    return shutil.which(H2LOAD) is not None


def require_h2load() -> str:
    """What h2load says of its version. Raises BenchmarkError if there is none."""
    command = [_h2load(), "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 our own


def _h2load() -> str:
    found = shutil.which(H2LOAD)
    if found is None:
        raise BenchmarkError("h2load is not installed: it is in the Debian package nghttp2-client")
    return found


def _found(pattern: str, printed: str) -> tuple[str, ...]:
    match = re.search(pattern, printed)
    if match is None:
        raise BenchmarkError(f"h2load printed nothing like {pattern!r}: {printed.strip()!r}")
    return match.groups()


def _percentiles(log: str) -> dict[str, float] | None:
    """Of lines of start, status and microseconds."""
    seconds = [float(line.split("\t")[2]) / 1e6 for line in log.splitlines()]
    return latency_us(seconds) if seconds else None
