"""The response to a ModelInferRequest, cut from the bytes of a batch's answers."""

import struct

import numpy as np

from digits.protos.inference.v2 import inference_pb2
from digits.serve.job import Answers
from digits.serve.oip.model_info import ELEMENTS, Output

FORMATS = {"UINT8": "%d", "FP32": "%f"}  # C++'s std::to_string, by which Triton writes values


class Encoder:
    """Writes ModelInferResponses of `count` images each with the same outputs.

    A message is its fields one after another, in any order; those of a repeated field keep theirs (protobuf.dev,
    "Encoding"). What all these responses have in common is written once by protobuf.
    """

    __slots__ = ("_count", "_head", "_model_name", "_outputs", "_rows")

    def __init__(self, model_name: str, count: int, outputs: tuple[Output, ...]) -> None:
        self._model_name = model_name
        self._count = count
        self._outputs = outputs
        self._rows = [(_opening(count * o.row_bytes), o.source, o.row_bytes) for o in outputs]
        self._head: tuple[str | None, bytes] = None, b""

    def encode(self, identity: bytes, answers: Answers, start: int, stop: int, _queue_microseconds: int) -> bytes:
        """The response to images start to stop of a batch; `identity` is that of the request."""
        version, head = self._head
        if version != answers.model_version:
            head = self._describe(answers.model_version)
            self._head = answers.model_version, head
        parts = [head, identity]
        for opening, source, size in self._rows:
            parts.append(opening)
            parts.append(getattr(answers, source)[start * size : stop * size])
        return b"".join(parts)

    def encode_classes(
        self, identity: bytes, answers: Answers, start: int, stop: int, _queue_microseconds: int
    ) -> bytes:
        """As `encode`, if at least one output is asked for as classes, whose elements have no fixed size."""
        response = inference_pb2.ModelInferResponse()
        for output in self._outputs:
            rows = getattr(answers, output.source)[start * output.row_bytes : stop * output.row_bytes]
            response.raw_output_contents.append(_top_classes(output, rows) if output.classes else rows)
        return self._describe(answers.model_version) + identity + response.SerializeToString()

    def _describe(self, model_version: str) -> bytes:
        """A response without its id and its elements."""
        response = inference_pb2.ModelInferResponse(model_name=self._model_name, model_version=model_version)
        for output in self._outputs:
            datatype = "BYTES" if output.classes else output.datatype
            response.outputs.add(
                name=output.name, datatype=datatype, shape=[self._count, output.classes or output.columns]
            )
        return response.SerializeToString()


def identity(identifier: str) -> bytes:
    """The field of a response that has the request's id."""
    return inference_pb2.ModelInferResponse(id=identifier).SerializeToString()


def _opening(size: int) -> bytes:
    """What comes before the `size` bytes of raw output contents: tag and length."""
    content = bytes(size)
    return inference_pb2.ModelInferResponse(raw_output_contents=[content]).SerializeToString().removesuffix(content)


def _top_classes(output: Output, rows: bytes) -> bytes:
    """Triton's classification extension: the `output.classes` highest elements of each row, highest first.

    Returns the raw contents of a BYTES tensor: n x output.classes texts, each after its length in four bytes:
    `value:index:label`, or `value:index` if the output has no labels.
    """
    values = np.frombuffer(rows, ELEMENTS[output.datatype][1]).reshape(-1, output.columns)
    columns = np.argsort(-values.astype(np.float64), axis=1, kind="stable")[:, : output.classes]
    labels = [f":{label}" for label in output.labels] or [""] * output.columns
    form = f"{FORMATS[output.datatype]}:%d%s"
    highest = np.take_along_axis(values, columns, axis=1).ravel().tolist()
    texts = [
        (form % (value, column, labels[column])).encode()
        for value, column in zip(highest, columns.ravel().tolist(), strict=True)
    ]
    return b"".join([struct.pack("<I", len(text)) + text for text in texts])
