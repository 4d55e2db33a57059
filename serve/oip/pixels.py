"""The input of a ModelInferRequest: from one of its datatypes to the model's, UINT8."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.images.arrays import PixelRange, to_uint8
from digits.images.errors import ArrayError
from digits.protos.inference.v2 import inference_pb2
from digits.serve.errors import InvalidRequest
from digits.serve.oip.model_info import INPUT

# By datatype: the field of its typed contents (FP16 has none), and numpy's name of a raw element.
ELEMENTS = {
    "UINT8": ("uint_contents", "u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "INT8": ("int_contents", "i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "BOOL": ("bool_contents", "?"),
    "FP16": ("", "<f2"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}
OTHER_RANGE = "the request parameter pixel_range '{}' takes the other range"


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a call are written."""

    model_name: str  # whose input they are, for errors
    count: int  # how many images
    datatype: str  # one of ELEMENTS
    pixel_range: PixelRange  # what floats are: "0-1" or "0-255"
    size: int  # how many bytes all elements have

    def to_bytes(self, data: bytes) -> bytes:
        """The model's pixels, uint8 [count, 28, 28], of raw ones: as they are if UINT8, otherwise by `images.arrays`.

        Raises:
            InvalidRequest: too few, too many, or a value that is not a pixel.
        """
        self._require_size(len(data))
        if self.datatype == "UINT8":
            return data
        return self._to_uint8(np.frombuffer(data, ELEMENTS[self.datatype][1])).tobytes()

    def from_contents(self, contents: inference_pb2.InferTensorContents) -> bytes:
        """Typed elements as raw ones. Raises InvalidRequest for another type's field, or a value that is no pixel."""
        field, element = ELEMENTS[self.datatype]
        for other, _ in contents.ListFields():
            if other.name != field:
                raise InvalidRequest(
                    f"unexpected explicit tensor data for input tensor '{INPUT}' for model '{self.model_name}' in "
                    f"{other.name}; datatype {self.datatype} is expected in {field or 'raw_input_contents'}"
                )
        typed = getattr(contents, field) if field else ()
        self._require_size(len(typed) * np.dtype(element).itemsize)
        elements = np.array(typed)
        if elements.dtype.kind in "iu":
            elements = self._to_uint8(elements)  # before a narrower type could change the value
        return elements.astype(element).tobytes()

    def _require_size(self, size: int) -> None:
        if size != self.size:
            raise InvalidRequest(
                f"input byte size mismatch for input '{INPUT}' for model '{self.model_name}'. "
                f"Expected {self.size}, got {size}"
            )

    def _to_uint8(self, elements: NDArray[Any]) -> NDArray[np.uint8]:
        try:
            return to_uint8(elements, self.pixel_range, OTHER_RANGE)
        except ArrayError as error:
            raise InvalidRequest(f"input '{INPUT}' for model '{self.model_name}': {error}") from error
