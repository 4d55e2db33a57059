"""The bound of every server behind pygrpc-native: its front, giving each message back. `python -m ... HOST:PORT`."""

from __future__ import annotations

import sys

from pygrpc_native import EVENT_CALL, NativeGrpcFront

METHODS = ("/digits.v1.DigitClassifier/Classify", "/inference.GRPCInferenceService/ModelInfer")
READY = "echo: ready"
MOST = 1024  # calls in one take


def main(address: str) -> None:
    front = NativeGrpcFront(address, [(method, False) for method in METHODS], io_threads=1)
    front.start()
    print(READY, flush=True)
    while (events := front.recv_batch(MOST)) is not None:
        for kind, call_id, _method, payload, _key in events:
            if kind == EVENT_CALL and payload is not None:
                front.respond(call_id, payload)


if __name__ == "__main__":
    main(sys.argv[1])
