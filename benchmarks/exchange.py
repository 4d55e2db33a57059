"""One call and its answer, over gRPC or plain HTTP/1.1."""

from __future__ import annotations

import http.client

import grpc

from digits.benchmarks.errors import BenchmarkError


def exchange(address: str, path: str, message: bytes, content_type: str | None, timeout: float) -> bytes:
    """The body of the answer; a call without a content type is gRPC's. Raises BenchmarkError if it fails."""
    if content_type is None:
        return _grpc(address, path, message, timeout)
    return _http(address, path, message, content_type, timeout)


def _grpc(address: str, path: str, message: bytes, timeout: float) -> bytes:
    with grpc.insecure_channel(address) as channel:
        unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        try:
            return unary(message, timeout=timeout, wait_for_ready=True)
        except grpc.RpcError as error:
            raise BenchmarkError(f"{error.code()}: {error.details()}") from error


def _http(address: str, path: str, message: bytes, content_type: str, timeout: float) -> bytes:
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("POST", path, message, {"content-type": content_type})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"no answer from {address}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"{answer.status} {answer.reason}: {body[:200].decode(errors='replace')}")
    return body
