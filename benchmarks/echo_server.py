"""The upper bound of every server with pygrpc-native: its HTTP/2 frontend, which sends each message back.

`python -m digits.benchmarks.echo_server HOST:PORT`
"""

import sys

from pygrpc_native import EVENT_CALL, NativeGrpcFront

METHODS = ("/digits.v1.DigitClassifier/Classify", "/inference.GRPCInferenceService/ModelInfer")
MOST = 1024  # calls in one batch


def main(address: str) -> None:
    frontend = NativeGrpcFront(address, [(method, False) for method in METHODS], io_threads=1)
    frontend.start()
    print("echo: ready", flush=True)
    while (events := frontend.recv_batch(MOST)) is not None:
        for kind, call_id, _method, payload, _key in events:
            if kind == EVENT_CALL and payload is not None:
                frontend.respond(call_id, payload)


if __name__ == "__main__":
    main(sys.argv[1])
