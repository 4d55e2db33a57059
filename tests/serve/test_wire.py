"""Each cell of the table in docs/reference/wire.md, tried with bare HTTP/2 frames on both transports."""

import gzip
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from digits.protos.digits.v1 import digits_pb2

DOCUMENT = Path(__file__).parents[2] / "docs/reference/wire.md"
CALLS = {
    "/digits.v1.DigitClassifier/Classify": digits_pb2.ClassifyRequest(pixels=bytes(784)).SerializeToString(),
    "/digits.v1.DigitClassifier/GetModel": b"",
}
HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "",
    ":authority": "localhost",
    "te": "trailers",
    "content-type": "application/grpc",
}
PINGS = 20
ENCODINGS = "a question which encodings are accepted"
ANY_PINGS = "pings in any number, before a call and after it"
# By what the document calls it: the headers that differ from those above; an empty one is left out.
SENT: dict[str, dict[str, str]] = {
    "a call": {},
    ENCODINGS: {},
    ANY_PINGS: {},
    "a call compressed with gzip": {"grpc-encoding": "gzip"},
    "a call compressed with deflate": {"grpc-encoding": "deflate"},
    "a `grpc-encoding` that there is not": {"grpc-encoding": "squeeze"},
    "16 KiB of metadata": {"x-large": "x" * 16 * 1024},
    "24 KiB of metadata": {"x-large": "x" * 24 * 1024},
    "another `content-type` than `application/grpc`": {"content-type": "application/json"},
    "no `te: trailers`": {"te": ""},
    "GET instead of POST": {":method": "GET"},
    "a `grpc-timeout` that cannot be read": {"grpc-timeout": "soon"},
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def rows() -> dict[str, list[str]]:
    """The document's table: what is sent, and the cells of the three columns."""
    text = DOCUMENT.read_text().partition("## Differences between the transports")[2]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {name: [cell.strip("`") for cell in cells] for name, *cells in lines[2:]}


class Connection:
    """A connection of bare HTTP/2 frames."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._http2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._http2.initiate_connection()
        # grpcio holds a client to its limits once they are acknowledged, which goes out before the first call.
        next(event for event in self._events() if isinstance(event, RemoteSettingsChanged))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ping(self, count: int) -> None:
        """Sends so many, each as soon as the one before is answered."""
        for _ in range(count):
            self._http2.ping(bytes(8))
            answer = next(e for e in self._events() if isinstance(e, PingAckReceived | ConnectionTerminated))
            assert isinstance(answer, PingAckReceived), answer

    def call(self, method: str, headers: dict[str, str]) -> dict[str, str]:
        """All headers and trailers of the answer; `reset` if the stream was."""
        compress = COMPRESS.get(headers.get("grpc-encoding", ""))
        message = compress(CALLS[method]) if compress else CALLS[method]
        stream = self._http2.get_next_available_stream_id()
        sent = HEADERS | {":path": method} | headers
        self._http2.send_headers(stream, [(name, value) for name, value in sent.items() if value])
        self._http2.send_data(stream, struct.pack(">?I", bool(compress), len(message)) + message, end_stream=True)
        found: dict[str, str] = {}
        for event in self._events():
            if isinstance(event, ResponseReceived | TrailersReceived):
                found |= {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, StreamReset):
                return {"reset": ErrorCodes(event.error_code).name}
            elif isinstance(event, StreamEnded):
                return found
        raise ConnectionError("the server closed the connection")

    def _events(self) -> Iterator[Event]:
        """What comes until the connection is closed; what is to be sent goes out first."""
        while True:
            self._socket.sendall(self._http2.data_to_send())
            if not (data := self._socket.recv(65536)):
                return
            yield from self._http2.receive_data(data)


def outcome(found: dict[str, str]) -> str:
    """As the document writes it."""
    if "reset" in found:
        return f"RST_STREAM {found['reset']}"
    if "grpc-status" not in found:
        return f"HTTP {found[':status']}"
    return next(code.name for code in grpc.StatusCode if str(code.value[0]) == found["grpc-status"])


def test_every_row_of_the_document_is_tried() -> None:
    assert rows().keys() == SENT.keys()


@pytest.mark.parametrize("sent", SENT)
def test_a_row_is_what_both_transports_do(server: Any, transport: str, sent: str) -> None:
    hot, cold, grpcio = rows()[sent]
    for method, cell in zip(CALLS, (hot, cold) if transport == "native" else (grpcio, grpcio), strict=True):
        with Connection(server.address) as connection:
            if sent == ANY_PINGS:
                connection.ping(PINGS)
            found = connection.call(method, SENT[sent])
            if sent == ANY_PINGS:
                connection.ping(PINGS)
        if sent == ENCODINGS:
            assert found.get("grpc-accept-encoding", "not said") == cell
        else:
            assert outcome(found) == cell, found
