"""Servers under the same loads in turn: how the benchmarks compare servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import CLASSIFY, HTTP, Images, Point, call_of
from digits.benchmarks.load.measure import RATE, ClosedLoop, ServerUnderTest
from digits.benchmarks.measurement import Result


@dataclass(frozen=True, slots=True)
class Grid:
    """Measures servers at grid points, into a result."""

    result: Result
    images: Images
    loop: ClosedLoop  # how each is measured, but with the connections of a point; with one of them each call is logged
    seconds: float  # of each measurement

    def turn(self, servers: Sequence[ServerUnderTest], point: Point, number: int) -> dict[str, Any]:
        """Measures each server once, and keeps the repeats when all are complete.

        Turns with an odd number take the servers from the last to the first, so that a drift favours none.

        Raises BenchmarkError if a server is gone, or an answer is wrong.
        """
        ordered = servers[:: -1 if number % 2 else 1]
        found = {server.name: self.measured(server, point, self.seconds) for server in ordered}
        for server in servers:
            self.keep(server, point, found[server.name])
        return found

    def measured(self, server: ServerUnderTest, point: Point, seconds: float) -> dict[str, Any]:
        """A repeat, which is not kept yet. Ours gets Classify where the point is for a peer that has no gRPC.

        Raises BenchmarkError if the server is gone, or an answer is wrong.
        """
        call = call_of(_kind(server, point), server.kind, self.images, point.images)
        try:
            return self._loop(point).measured(server, [call], seconds)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}, under {point}") from error

    def keep(self, server: ServerUnderTest, point: Point, repeat: Mapping[str, Any]) -> None:
        load = self._loop(point).load(_kind(server, point), point.images)
        self.result.repeats(server.name, load).append(dict(repeat))

    def _loop(self, point: Point) -> ClosedLoop:
        percentiles = self.loop.percentiles or point.connections == 1
        return replace(self.loop, connections=point.connections, percentiles=percentiles)


def rates_text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The rates of a turn, for people."""
    return "; ".join(f"{name} {repeat[RATE]:,.0f}/s" for name, repeat in found.items())


def _kind(server: ServerUnderTest, point: Point) -> str:
    return CLASSIFY if server.counts and point.kind in HTTP else point.kind
