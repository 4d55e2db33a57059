"""The settings of the commands that are the command line's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifySettings:
    """What `digits classify` is told."""

    server: str | None = None
    """Ask the server at this address: HOST:PORT or unix:PATH. Default: classify in this process."""

    models: Path | None = None
    """The model repository, for classifying in this process. Default: the bundled model."""

    precision: Literal["auto", "fp32", "int8"] = "auto"
    """Which variant of it; `auto` takes the fastest one that passes its self-test on this host."""

    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=86400))] = 10.0
    """Seconds that a call to the server may take."""

    show: bool = False
    """Draw each picture, what the model sees of it and the ten probabilities."""

    json: bool = False
    """Print one JSON object a line: file, digit, confidence, probabilities; or file and error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What `digits demo` is told."""

    out: Path = Path("demo")
    """Where everything goes: run/, models/, pictures/ and the table of their scores."""

    data: str | None = None
    """MNIST, as for `digits train`. Default: the Keras cache or the embedded digits; nothing is downloaded."""

    pictures: Annotated[int, Parameter(validator=Number(gte=1))] = 200
    """Test digits that are written as PNG files, sent to the server and scored."""
