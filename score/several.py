"""Pictures of several digits: the answers to their candidates become rows of the table, one for each digit."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from digits.client.predictions import Predictions
from digits.client.reading import choices
from digits.score import chunk as statuses
from digits.score.chunk import Chunk, Decoded, Problem, Scored, Several
from digits.score.classifiers import Classifier
from digits.score.settings import ScoreSettings


class _Row(NamedTuple):
    """A row of the table: the index of its picture, where it was read, its answer's place, or why it has none."""

    origin: int
    place: list[int] | None
    answer: int | None
    problem: Problem | None


def answer(chunk: Chunk, decoded: Decoded, classifier: Classifier, settings: ScoreSettings) -> Scored:
    """The answers to a chunk of pictures."""
    if not len(decoded.pixels):
        several = Several(replace(chunk, contents=[]), [*range(len(chunk))], [None] * len(chunk))
        return Scored(several.chunk(), decoded, np.zeros(0, np.uint8), np.zeros(0, np.float32), None, None, several)
    predictions = classifier.classify(decoded.pixels, include_probabilities=settings.probabilities)
    rows = [*_rows(len(chunk), decoded, predictions)]
    several = Several(replace(chunk, contents=[]), [row.origin for row in rows], [row.place for row in rows])
    problems = {index: row.problem for index, row in enumerate(rows) if row.problem}
    read = np.array([row.answer for row in rows if not row.problem], np.intp)
    novelties = None
    if predictions.novelties is not None:
        places = [np.nan if row.answer is None else predictions.novelties[row.answer] for row in rows]
        novelties = np.array(places, np.float32)
    return Scored(
        several.chunk(),
        Decoded(decoded.pixels[read], problems),
        predictions.digits[read],
        predictions.confidences[read],
        None if predictions.probabilities is None else predictions.probabilities[read],
        novelties,
        several,
    )


def _rows(count: int, decoded: Decoded, predictions: Predictions) -> Iterator[_Row]:
    """The rows of so many pictures, in their order."""
    start = 0
    for origin in range(count):
        if problem := decoded.problems.get(origin):
            yield _Row(origin, None, None, problem)
            continue
        rows = decoded.rows[origin]
        for number, glyph, answer, error in choices(rows, predictions, start):
            status = statuses.NOT_A_DIGIT if glyph.is_one else statuses.SEVERAL
            yield _Row(origin, [number, *glyph.box], answer, Problem(status, error) if error else None)
        start += len(rows.candidates())
