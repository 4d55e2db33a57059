"""Triton's classification extension: the most probable classes of an output instead of its elements."""

import struct

import numpy as np

from digits.serve.oip.model_info import Output
from digits.serve.oip.pixels import ELEMENTS

# C++'s std::to_string, by which Triton writes values.
FORMATS = {"UINT8": "%d", "FP32": "%f"}


def top_classes(output: Output, rows: bytes) -> bytes:
    """The `output.classes` highest elements of each row, highest first, as the raw contents of a BYTES tensor.

    Args:
        output: What the rows are.
        rows: Its elements, [n, output.columns].

    Returns:
        n x output.classes texts, each after its length in four bytes: `value:index:label`, or `value:index` where the
        output has no labels.
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
