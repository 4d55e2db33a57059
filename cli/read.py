from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from digits.cli.classifier import opened
from digits.cli.errors import CommandError
from digits.cli.settings import ReadSettings
from digits.storage.text import one_line

if TYPE_CHECKING:
    from digits.cli.classifier import Classifier
    from digits.client.reading import Reading


def read(
    *files: Path,
    settings: Annotated[ReadSettings, Parameter(name="*")] = ReadSettings(),
) -> int:
    """Read the digits of pictures as text: a phone number, a form with boxes, a sheet of digits.

    ```
    digits read phone.jpg --show
    digits read form.png --figure boxes.png --json
    ```

    Digits are read from left to right, in rows from top to bottom: each row is a line of the output, with the
    confidence of its least certain digit. Printed lines and frames are removed. Digits that touch are cut apart where
    the cut is clear; otherwise, and for what is not a digit, there is a question mark. Hyphens, points, plus signs
    and parentheses are left out and counted. A file that cannot be read or has no digits is reported, the
    others are read, and the exit code is 1.

    Args:
        files: The picture files.
        settings: The settings.
    """
    _check_options(files, settings)
    failures = 0
    with opened(settings) as (classifier, _):
        if not settings.json:
            print("confidence  text  file")
        for file in files:
            reading = _read(file, classifier)
            failures += isinstance(reading, str)
            for line in [_as_json(file, reading)] if settings.json else _as_rows(file, reading):
                print(line)
            if not isinstance(reading, str):
                _draw(file, reading, settings)
    return 1 if failures else 0


def _check_options(files: tuple[Path, ...], settings: ReadSettings) -> None:
    if not files:
        raise CommandError("no picture given; say `digits read FILE...`")
    if settings.json and settings.show:
        raise CommandError("--json is for programs and --show for people; say one of them")
    if settings.figure is not None and len(files) > 1:
        raise CommandError(f"--figure draws one picture, and there are {len(files)}; give one")


def _read(file: Path, classifier: Classifier) -> Reading | str:
    """The reading of a picture, or why there is none."""
    from digits.images.errors import PictureError

    try:
        return classifier.read(file)
    except PictureError as error:
        return str(error).removeprefix(f"{file}: ")
    except OSError as error:
        return error.strerror or str(error)


def _as_json(file: Path, reading: Reading | str) -> str:
    if isinstance(reading, str):
        return json.dumps({"file": str(file), "error": reading})
    digits = [asdict(one) for one in reading.digits]
    return json.dumps({"file": str(file), "text": reading.text, "digits": digits, "left_out": reading.left_out})


def _as_rows(file: Path, reading: Reading | str) -> list[str]:
    """A line for each row of digits, and one for the marks that are left out."""
    if isinstance(reading, str):
        return [one_line(f"         -  -  {file}: {reading}")]
    rows = []
    for number, text in enumerate(reading.text.split("\n"), 1):
        found = [one.confidence for one in reading.digits if one.row == number and one.confidence is not None]
        least = f"{min(found):10.2%}" if found else f"{'-':>10}"
        rows.append(one_line(f"{least}  {text}  {file}"))
    if reading.left_out:
        one = reading.left_out == 1
        marks = "1 mark that is not a digit is" if one else f"{reading.left_out} marks that are not digits are"
        rows.append(one_line(f"         -  -  {file}: {marks} left out"))
    return rows


def _draw(file: Path, reading: Reading, settings: ReadSettings) -> None:
    from digits.cli import boxes
    from digits.cli.drawing import Terminal

    if settings.figure is not None:
        boxes.write(settings.figure, file, reading)
    if settings.show:
        print()
        for line in boxes.draw(file, reading, Terminal.of(sys.stdout)):
            print(f"  {line}")
        print()
