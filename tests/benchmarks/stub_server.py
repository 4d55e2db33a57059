"""A server with known service times, to test load generators: the reply says when the service of the call was.

`stub_server.py --service-ms 20 HOST:PORT`; with --one-at-a-time calls wait for each other; --stall 2 1 stops the whole
server, 2 seconds after its first call, for 1 second. A reply is two float64 of the system's monotonic clock, in
seconds: when the service began, and when it ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import selectors
import struct
import time

import grpc

REPLY = struct.Struct("<dd")


class Stub(grpc.GenericRpcHandler):
    """Answers every method."""

    def __init__(self, service: float, *, one_at_a_time: bool, stall: tuple[float, float] | None) -> None:
        self._service = service
        self._turn = asyncio.Lock() if one_at_a_time else contextlib.nullcontext()
        self._one_at_a_time = one_at_a_time
        self._stall = stall
        self._free = 0.0  # when the last service ended

    def service(self, _details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(self._serve)

    async def _serve(self, _message: bytes, _context: object) -> bytes:
        if self._stall is not None:
            (after, length), self._stall = self._stall, None
            asyncio.get_running_loop().call_later(after, time.sleep, length)
        arrived = time.monotonic()
        async with self._turn:
            await asyncio.sleep(self._service)
            ended = time.monotonic()
            # A call that waited is served from the end of the last service: taking its turn is part of the service.
            began = max(arrived, self._free) if self._one_at_a_time else arrived
            self._free = ended
            return REPLY.pack(began, ended)


async def main(address: str, stub: Stub) -> None:
    server = grpc.aio.server(handlers=[stub])
    server.add_insecure_port(address)
    await server.start()
    print("stub: ready", flush=True)
    await server.wait_for_termination()


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--service-ms", type=float, default=20)
    parser.add_argument("--one-at-a-time", action="store_true")
    parser.add_argument("--stall", type=float, nargs=2, metavar=("AFTER", "SECONDS"))
    parser.add_argument("address")
    return parser.parse_args()


if __name__ == "__main__":
    given = _parsed()
    one = Stub(given.service_ms / 1000, one_at_a_time=given.one_at_a_time, stall=given.stall)
    # As in the generator: select(2) waits to the microsecond.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(main(given.address, one))
