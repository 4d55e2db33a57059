"""`Classify` on the wire: request bytes to images, an answer to response bytes. Every transport's own conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError

from digits.protos.digits.v1 import digits_pb2
from digits.serve.errors import InvalidRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.serve.job import Answer

IMAGE_BYTES = 28 * 28


def parse(message: bytes, max_batch_size: int) -> tuple[NDArray[np.uint8], bool]:
    """The images of a ClassifyRequest, uint8 [n, 28, 28], and whether it wants their probabilities.

    Raises:
        InvalidRequest: not a ClassifyRequest, no whole number of images, none, or more than `max_batch_size`.
    """
    try:
        request = digits_pb2.ClassifyRequest.FromString(message)
    except DecodeError as error:
        raise InvalidRequest(f"the message is not a digits.v1.ClassifyRequest: {error}") from error
    size = len(request.pixels)
    count, rest = divmod(size, IMAGE_BYTES)
    if rest or not count:
        raise InvalidRequest(f"pixels has {size} bytes; expected a positive multiple of 784, one byte a pixel")
    if count > max_batch_size:
        raise InvalidRequest(f"pixels has {count} images; max_batch_size is {max_batch_size}: split the call")
    return np.frombuffer(request.pixels, np.uint8).reshape(count, 28, 28), request.include_probabilities


def serialize(answer: Answer, model_version: str, *, include_probabilities: bool) -> bytes:
    """The ClassifyResponse to an answer."""
    probabilities = answer.probabilities
    return digits_pb2.ClassifyResponse(
        digits=probabilities.argmax(axis=1).tolist(),
        confidences=probabilities.max(axis=1).tolist(),
        probabilities=probabilities.ravel().tolist() if include_probabilities else None,
        model_version=model_version,
        queue_microseconds=round(answer.queue_seconds * 1e6),
        compute_microseconds=round(answer.compute_seconds * 1e6),
        batch_size=answer.batch_size,
    ).SerializeToString()
