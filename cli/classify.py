from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from digits.cli.classifier import opened
from digits.cli.errors import CommandError
from digits.cli.settings import ClassifySettings
from digits.storage.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from digits.cli.classifier import Classifier
    from digits.client.predictions import Predictions


def classify(
    *files: Path,
    settings: Annotated[ClassifySettings, Parameter(name="*")] = ClassifySettings(),
) -> int:
    """Classify the digits in picture files: photos, scans or MNIST images.

    ```
    digits classify photo.png --show
    digits classify photo.png scan.png --figure steps.png
    digits classify scans/*.jpg --server localhost:50051 --json
    ```

    Each picture shows one digit, dark on light or light on dark. The model runs in this process (which needs
    digits-serving[serve]): the bundled model, or the newest version in --models. With --server, a server classifies.
    A file that cannot be read or is not a digit is reported, the others are classified, and the exit code is 1. The
    novelty tells how unlike a digit a picture is.

    Args:
        files: The picture files.
        settings: The settings.
    """
    if not files:
        raise CommandError("no picture given; say `digits classify FILE...`")
    if settings.json and settings.show:
        raise CommandError("--json is for programs and --show for people; say one of them")
    failures, detailed = 0, settings.json or settings.show
    with opened(settings) as (classifier, chunk):
        if not settings.json:
            print("digit  confidence  novelty  file")
        for start in range(0, len(files), chunk):
            for outcome, pixels in _classify(files[start : start + chunk], classifier, include_probabilities=detailed):
                failures += "error" in outcome
                print(json.dumps(outcome) if settings.json else _as_row(outcome))
                if settings.show and pixels is not None:
                    _show(outcome, pixels)
    if settings.figure is not None:
        from digits.cli import steps

        steps.write(settings.figure, files)
    return 1 if failures else 0


def _show(outcome: dict[str, Any], pixels: NDArray[np.uint8]) -> None:
    from digits.cli.drawing import Terminal, draw
    from digits.images import picture
    from digits.images.steps import removed

    print()
    for line in draw(Path(outcome["file"]), pixels, outcome["probabilities"], Terminal.of(sys.stdout)):
        print(f"  {line}")
    if lines := removed(picture.grey(outcome["file"])):
        print(f"  {lines}")
    print()


def _classify(
    files: Sequence[Path], classifier: Classifier, *, include_probabilities: bool
) -> Iterator[tuple[dict[str, Any], NDArray[np.uint8] | None]]:
    """For each file, in order: its result and its 28 x 28 pixels; or its error, and None."""
    from digits.score.decoding import decode

    decoded = decode([str(file) for file in files])
    answers: Iterator[dict[str, Any]] = iter(())
    if len(decoded.pixels):
        answers = _answers(classifier.classify(decoded.pixels, include_probabilities=include_probabilities))
    pixels = iter(decoded.pixels)
    for index, file in enumerate(files):
        if (problem := decoded.problems.get(index)) is not None:
            yield {"file": str(file), "error": problem.error}, None
        else:
            yield {"file": str(file)} | next(answers), next(pixels)


def _answers(predictions: Predictions) -> Iterator[dict[str, Any]]:
    from digits.score.chunk import NOT_A_DIGIT, NOT_A_DIGIT_ERROR

    for i in range(len(predictions)):
        answer: dict[str, Any] = {"digit": int(predictions.digits[i]), "confidence": float(predictions.confidences[i])}
        if predictions.novelties is not None:
            answer["novelty"] = float(predictions.novelties[i])
        if predictions.not_a_digit is not None and predictions.not_a_digit[i]:
            del answer["digit"], answer["confidence"]
            answer["error"] = f"{NOT_A_DIGIT}: {NOT_A_DIGIT_ERROR}"
        if predictions.probabilities is not None:
            answer["probabilities"] = predictions.probabilities[i].tolist()
        yield answer


def _as_row(outcome: dict[str, Any]) -> str:
    novelty = f"{outcome['novelty']:7.2f}" if "novelty" in outcome else f"{'-':>7}"
    if "error" in outcome:
        return one_line(f"    -           -  {novelty}  {outcome['file']}: {outcome['error']}")
    return one_line(f"{outcome['digit']:5}  {outcome['confidence']:10.2%}  {novelty}  {outcome['file']}")
