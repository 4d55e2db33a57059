"""Who answers the commands that look at pictures: a server, or a model in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digits.cli.settings import AnswerSettings
    from digits.client.client import Client
    from digits.client.local import LocalClassifier

    Classifier: TypeAlias = Client | LocalClassifier

CHUNK = 256  # pictures that are read and classified together


@contextlib.contextmanager
def opened(settings: AnswerSettings) -> Iterator[tuple[Classifier, int]]:
    """The classifier, and how many pictures one call takes."""
    if settings.server is not None:
        from digits.client.client import Client

        with Client(settings.server, timeout=settings.timeout) as client:
            yield client, min(CHUNK, client.model().limits.max_batch_size or CHUNK)
        return
    from digits.client.local import LocalClassifier

    yield LocalClassifier(settings.models, precision=settings.precision), CHUNK
