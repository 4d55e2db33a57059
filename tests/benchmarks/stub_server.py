"""A server with known service times, to test load generators: the reply says when the service of the call was.

`stub_server.py HOST:PORT SERVICE_MS TURNS [STALL_AFTER STALL_SECONDS]`; with `turns` calls wait for each other, and the
whole server may stop, some seconds after its first call, for some seconds. A reply is two float64 of the system's
monotonic clock, in seconds: when the service began, and when it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import struct
import sys
import time

import grpc

REPLY = struct.Struct("<dd")


class Stub(grpc.GenericRpcHandler):
    """Answers every method."""

    def __init__(self, service: float, *, turns: bool, stall: list[float]) -> None:
        self._service, self._turns, self._stall = service, turns, stall
        self._turn = asyncio.Lock() if turns else contextlib.nullcontext()
        self._free = 0.0  # when the last service ended

    def service(self, _details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(self._serve)

    async def _serve(self, _message: bytes, _context: object) -> bytes:
        if self._stall:
            (after, length), self._stall = self._stall, []
            asyncio.get_running_loop().call_later(after, time.sleep, length)
        arrived = time.monotonic()
        async with self._turn:
            await asyncio.sleep(self._service)
            ended = time.monotonic()
            # A call that waited is served from the end of the last service: taking its turn is part of the service.
            began = max(arrived, self._free) if self._turns else arrived
            self._free = ended
            return REPLY.pack(began, ended)


async def main(address: str, service_ms: str, turns: str, *stall: str) -> None:
    server = grpc.aio.server(
        handlers=[Stub(float(service_ms) / 1000, turns=turns == "turns", stall=[*map(float, stall)])]
    )
    server.add_insecure_port(address)
    await server.start()
    print("stub: ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    # As in the generator: select(2) waits to the microsecond.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(main(*sys.argv[1:]))
