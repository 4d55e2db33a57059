"""A load made by h2load, the load generator of nghttp2."""

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import Call
from digits.benchmarks.load.latency import latency_us

H2LOAD = "h2load"
GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]  # its body is framed and not compressed
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}  # in microseconds

RATE = r"finished in .*?, ([\d.]+) req/s"
REQUESTS = r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
STATUS = r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx"
DATA = r"traffic: .* \((\d+)\) data"
MEAN = r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) "


@dataclass(frozen=True, slots=True)
class H2loadResult:
    """What h2load reports. It ignores grpc-status: a call that failed with one counts as answered, without a body.

    Attributes:
        calls_per_second: That were answered.
        answered: Calls.
        failed: Calls without an answer, or with a status other than 2xx.
        body_bytes: Of all answers.
        mean_us: Microseconds of a call, in the mean.
        percentiles: Microseconds of a call, where each call was logged.
    """

    calls_per_second: float
    answered: int
    failed: int
    body_bytes: int
    mean_us: float
    percentiles: dict[str, float] | None = None


def drive(
    address: str,
    call: Call,
    *,
    connections: int,
    seconds: float | None = None,
    calls: int = 0,
    streams: int = 1,
    per_second: int | None = None,
    percentiles: bool = False,
) -> H2loadResult:
    """Makes the call for so many seconds, or else so many times.

    Args:
        address: HOST:PORT.
        call: Over gRPC, or HTTP/1.1 if it has a content type.
        connections: All of them driven by one thread.
        seconds: How long.
        calls: How many, if no seconds are given.
        streams: Concurrent calls on each connection.
        per_second: Calls started on each connection; by default one as soon as another is answered.
        percentiles: Log each call, which costs h2load a few percent.
    """
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes((b"" if call.content_type else b"\0" + struct.pack(">I", len(call.message))) + call.message)
        length = ["-n", str(calls)] if seconds is None else ["-D", f"{round(seconds * 1000)}ms", "--warm-up-time=0"]
        length += ["--rps", str(per_second)] if per_second else []
        command = [_h2load(), "-t", "1", "-m", str(streams), "-c", str(connections), *length, "-d", str(body)]
        command += ["--h1", "-H", f"content-type: {call.content_type}"] if call.content_type else GRPC
        command += ["--log-file", str(log)] if percentiles else []
        done = subprocess.run([*command, f"http://{address}{call.method}"], check=False, capture_output=True, text=True)  # noqa: S603 our own
        if done.returncode:
            raise BenchmarkError(f"h2load ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return parsed(done.stdout, log.read_text(encoding="ascii") if percentiles else None)


def parsed(printed: str, log: str | None = None) -> H2loadResult:
    """The output of h2load and its log file. Raises BenchmarkError if it is not the output of h2load."""
    answered, _, failed, _, _ = map(int, _found(REQUESTS, printed))  # the failed include errors and timeouts
    not_2xx = sum(map(int, _found(STATUS, printed)[1:]))  # some of them may be among the failed
    mean, unit = _found(MEAN, printed)
    return H2loadResult(
        calls_per_second=float(_found(RATE, printed)[0]),
        answered=answered,
        failed=max(failed, not_2xx),
        body_bytes=int(_found(DATA, printed)[0]),
        mean_us=float(mean) * UNITS[unit],
        percentiles=None if log is None else _percentiles(log),
    )


def installed() -> bool:
    return shutil.which(H2LOAD) is not None


def require_h2load() -> str:
    """The version of h2load. Raises BenchmarkError if h2load is not installed."""
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
        raise BenchmarkError(f"h2load did not print {pattern!r}: {printed.strip()!r}")
    return match.groups()


def _percentiles(log: str) -> dict[str, float] | None:
    """Each line has start, status and microseconds."""
    seconds = [float(line.split("\t")[2]) / 1e6 for line in log.splitlines()]
    return latency_us(seconds) if seconds else None
