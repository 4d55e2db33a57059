"""Settings of `digits classify`, `digits read` and `digits demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSettings:
    """Who answers: a server or a model in this process."""

    server: str | None = None
    """Ask the server at this address: HOST:PORT or unix:PATH. Default: classify in this process."""

    models: Path | None = None
    """The model repository, for classifying in this process. Default: the bundled model."""

    precision: Literal["auto", "fp32", "int8"] = "auto"
    """Which variant of it; `auto` takes the fastest one that passes its self-test on this host."""

    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=86400))] = 10.0
    """The timeout of a call to the server, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifySettings(AnswerSettings):
    """Settings of `digits classify`."""

    show: bool = False
    """Draw each picture, what the model sees of it and the ten probabilities; and say which lines were removed."""

    figure: Path | None = None
    """Draw what each picture goes through, step by step, into this PNG file, with a row for each picture."""

    json: bool = False
    """Print one JSON object for each file: file, digit, confidence, probabilities; or file and error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings(AnswerSettings):
    """Settings of `digits read`."""

    show: bool = False
    """Draw each picture with a box around each digit, and list the digits."""

    figure: Path | None = None
    """Draw the picture with its boxes and digits into this PNG file. Takes one picture."""

    json: bool = False
    """Print one JSON object for each file: file, text, digits (row, box, digit, confidence, error), left_out; or file
    and error. A box is left, top, right and bottom in pixels of the upright picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """Settings of `digits demo`."""

    out: Path = Path("demo")
    """The output folder: run/, models/, pictures/, table.csv and least-certain.png."""

    data: str | None = None
    """MNIST, as for `digits train`. Default: the Keras cache or the embedded digits; nothing is downloaded."""

    pictures: Annotated[int, Parameter(validator=Number(gte=1))] = 200
    """How many test digits to write as PNG files and classify."""
