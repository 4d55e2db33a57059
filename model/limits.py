"""The limits of the acceptance checks."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Distance = Annotated[float, Parameter(group="Limits", validator=Number(gte=0))]
Percent = Annotated[float, Parameter(group="Limits", validator=Number(gte=0, lte=100))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a variant may deviate from the reference, the exported Keras model or ONNX file."""

    max_abs_diff: Distance = 1e-5
    """Largest difference of a probability of fp32 from the reference's. No digit may differ."""

    int8_agreement: Percent = 99.9
    """Least percentage of the test images on which int8 finds the same digit as fp32."""

    int8_accuracy_loss: Percent = 0.05
    """Most percentage points of accuracy that int8 may lose; a loss of one image is always allowed."""

    fp16_max_abs_diff: Distance = 5e-3
    """Largest difference of a probability of fp16 from the reference's."""
