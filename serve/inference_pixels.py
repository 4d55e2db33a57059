"""The input of a ModelInferRequest: from one of its datatypes to the model's, UINT8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from digits.serve.errors import InvalidRequest
from digits.serve.job import IMAGE_BYTES
from digits.serve.served import INPUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.protos.inference.v2 import inference_pb2

# By datatype: the field of its typed contents, and numpy's name of a raw element.
ELEMENTS = {"UINT8": ("uint_contents", "u1"), "FP32": ("fp32_contents", "<f4")}
# By pixel_range: what makes 0 to 255 of FP32.
SCALES = {"0-1": 255, "0-255": 1}


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a call are written.

    Attributes:
        model_name: Whose input they are, for errors.
        count: How many images.
        datatype: UINT8 or FP32.
        pixel_range: What FP32 is: "0-1" or "0-255".
        size: How many bytes all elements have.
    """

    model_name: str
    count: int
    datatype: str
    pixel_range: str
    size: int

    def to_bytes(self, data: bytes) -> bytes:
        """The model's pixels, uint8 [count, 28, 28], of raw ones. FP32 is rounded to them.

        Raises:
            InvalidRequest: too few, too many, or one that rounds to nothing in 0 to 255.
        """
        self._require_size(len(data))
        return self._rounded(np.frombuffer(data, "<f4")) if self.datatype == "FP32" else data

    def from_contents(self, contents: inference_pb2.InferTensorContents) -> bytes:
        """Typed elements as raw ones. Raises InvalidRequest if they are in another type's field, or no UINT8."""
        field, element = ELEMENTS[self.datatype]
        for other, _ in contents.ListFields():
            if other.name != field:
                raise InvalidRequest(
                    f"unexpected explicit tensor data for input tensor '{INPUT}' for model '{self.model_name}' in "
                    f"{other.name}; datatype {self.datatype} is expected in {field}"
                )
        self._require_size(len(getattr(contents, field)) * int(element[-1]))
        elements = np.array(getattr(contents, field))
        if self.datatype == "UINT8":
            self._require(elements <= 255, elements, "0 to 255")  # noqa: PLR2004 a byte
        return elements.astype(element).tobytes()

    def _require_size(self, size: int) -> None:
        if size != self.size:
            raise InvalidRequest(
                f"input byte size mismatch for input '{INPUT}' for model '{self.model_name}'. "
                f"Expected {self.size}, got {size}"
            )

    def _rounded(self, elements: NDArray[np.float32]) -> bytes:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            pixels: NDArray[np.float32] = np.rint(elements * np.float32(SCALES[self.pixel_range]))
        fit = (pixels >= 0) & (pixels <= 255)  # noqa: PLR2004
        other = "".join(other for other in SCALES if other != self.pixel_range)
        expected = self.pixel_range.replace("-", " to ")
        self._require(fit, elements, f"{expected}; the request parameter pixel_range '{other}' takes the other range")
        return pixels.astype(np.uint8).tobytes()

    def _require(self, fit: NDArray[np.bool_], elements: NDArray[np.generic], expected: str) -> None:
        if not fit.all():
            index = int(fit.argmin())
            image, pixel = divmod(index, IMAGE_BYTES)
            raise InvalidRequest(
                f"input '{INPUT}' for model '{self.model_name}' is {elements[index]} at pixel {pixel} of image {image}"
                f"; expected {expected}"
            )
