"""The settings of an export and of a verification."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.images.settings import ArraySettings, list_option
from digits.model.manifest import FP16, INT8

IMPORTED = "Imported models"


def _variants(given: str, parts: list[str]) -> Iterable[str]:
    if not set(parts) <= {INT8, FP16} and given != "none":
        raise ValueError(f'"{given}" is not a list of variants; give int8, fp16, int8,fp16 or none')
    return (variant for variant in (INT8, FP16) if variant in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """What an imported model takes and gives: an ONNX file, a Keras file or a SavedModel."""

    input_scale: Annotated[Literal[1, 255], Parameter(group=IMPORTED)] = 1
    """The largest pixel that a float input takes: 1 if pixels were divided by 255 in training, or 255."""

    mean: Annotated[float, Parameter(group=IMPORTED, validator=Number(gte=-255, lte=255))] = 0.0
    """What was then subtracted from the pixels, as by PyTorch's `Normalize((mean,), (std,))`."""

    std: Annotated[float, Parameter(group=IMPORTED, validator=Number(gte=1e-6, lte=1e6))] = 1.0
    """What the pixels were divided by after that."""

    output: Annotated[Literal["probabilities", "logits", "log-probabilities"] | None, Parameter(group=IMPORTED)] = None
    """What the model gives. A softmax is appended to logits, an exponential to logarithms of probabilities. Default:
    according to the last operator for a Keras model, probabilities for an ONNX file."""

    output_name: Annotated[str | None, Parameter(group=IMPORTED)] = None
    """The name of the output, if several are possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings(ArraySettings):
    """The settings of `digits export`."""

    models: Path = Path("models")
    """The model repository to publish in."""

    data: str | None = None
    """MNIST, as for `digits train`, for an imported model; for a run, where its own MNIST is if it has been moved."""

    variants: Annotated[tuple[str, ...], list_option(_variants)] = (
        INT8,
        FP16,
    )
    """What to publish in addition to fp32: int8 for the CPU, fp16 for CUDA, separated by commas; or `none`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings(ArraySettings):
    """The settings of `digits verify`."""

    models: Path | None = None
    """The model repository of a version that is given by number. Default: the bundled model."""

    test_data: str | None = None
    """A whole test set instead of the golden one: MNIST, as `--data` of `digits train` takes it."""

    against: Path | None = None
    """A model to compare with, instead of the answers that the version carries: a run folder, a Keras file (.keras,
    .h5), a SavedModel folder or an ONNX file."""
