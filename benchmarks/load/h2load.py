"""A load made by h2load, the load generator of nghttp2."""

import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, Call, latency_us

GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]  # its body is framed and not compressed
FRAME = 5  # bytes of gRPC's before each message
TIMES_BYTES = 7  # by which answers of Classify differ at most: in their times and the size of their batch
COMPLETE = 0.95  # of the expected bytes, at least: a failed call has no body

RATE = r"finished in .*?, ([\d.]+) req/s"
REQUESTS = r"requests: .* (\d+) done, \d+ succeeded, (\d+) failed"  # the failed include errors and timeouts
STATUS = r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx"  # some of them may be among the failed
DATA = r"traffic: .* \((\d+)\) data"


class H2loadResult(NamedTuple):
    """What h2load reports. It ignores grpc-status: a call that failed with one counts as answered, without a body."""

    calls_per_second: float  # that were answered
    answered: int
    failed: int  # calls without an answer, or with a status other than 2xx
    body_bytes: int  # of all answers
    percentiles: dict[str, float] | None = None  # microseconds of a call, where each call was logged

    def require_bodies(self, call: Call, size: int) -> None:
        """Raises BenchmarkError unless the answers were in the mean as large as a right one, which has `size` bytes.

        A call that failed has no body; answers of Classify differ by a few bytes.
        """
        size += FRAME if call.content_type is None else 0
        least = size - (TIMES_BYTES if call.kind == CLASSIFY else 0)
        if not self.answered or self.body_bytes < self.answered * least * COMPLETE:
            brought = f"{self.answered:,} calls brought {self.body_bytes:,} bytes, expected {size} for each"
            raise BenchmarkError(f"{call.kind}: {brought}: some of them failed")


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
    """Makes the call for so many seconds, or else so many times, over connections that one thread drives.

    Each connection has so many concurrent `streams`, and starts so many calls `per_second`; by default one as soon as
    another is answered. For `percentiles` each call is logged, which costs h2load a few percent.
    """
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes((b"" if call.content_type else b"\0" + struct.pack(">I", len(call.message))) + call.message)
        length = ["-n", str(calls)] if seconds is None else ["-D", f"{round(seconds * 1000)}ms", "--warm-up-time=0"]
        length += ["--rps", str(per_second)] if per_second else []
        length += ["--log-file", str(log)] if percentiles else []
        command = [_h2load(), "-t", "1", "-m", str(streams), "-c", str(connections), *length, "-d", str(body)]
        command += ["--h1", "-H", f"content-type: {call.content_type}"] if call.content_type else GRPC
        done = subprocess.run([*command, f"http://{address}{call.method}"], check=False, capture_output=True, text=True)  # noqa: S603 our own
        if done.returncode:
            raise BenchmarkError(f"h2load ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return parsed(done.stdout, log.read_text(encoding="ascii") if percentiles else None)


def parsed(printed: str, log: str | None = None) -> H2loadResult:
    """The output of h2load, and its log file, whose lines have start, status and microseconds.

    Raises BenchmarkError if it is not the output of h2load.
    """

    def found(pattern: str) -> tuple[str, ...]:
        if (match := re.search(pattern, printed)) is None:
            raise BenchmarkError(f"h2load did not print {pattern!r}: {printed.strip()!r}")
        return match.groups()

    answered, failed = map(int, found(REQUESTS))
    return H2loadResult(
        calls_per_second=float(*found(RATE)),
        answered=answered,
        failed=max(failed, sum(map(int, found(STATUS)))),
        body_bytes=int(*found(DATA)),
        percentiles=latency_us([float(line.split("\t")[2]) / 1e6 for line in (log or "").splitlines()]),
    )


def installed() -> bool:
    return shutil.which("h2load") is not None


def require_h2load() -> str:
    """The version of h2load. Raises BenchmarkError if h2load is not installed."""
    command = [_h2load(), "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 our own


def _h2load() -> str:
    found = shutil.which("h2load")
    if found is None:
        raise BenchmarkError("h2load is not installed: it is in the Debian package nghttp2-client")
    return found
