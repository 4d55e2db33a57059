"""The two classifiers of a scoring: the model in this process, or a server that may be away for a while."""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from digits.client import Client
from digits.client.errors import ClientError, DeadlineError, OverloadedError, UnavailableError
from digits.client.local import LocalClassifier
from digits.client.predictions import Predictions
from digits.model.manifest import CpuPrecision
from digits.score.errors import ScoreError
from digits.score.settings import ScoreSettings

AWAY = (UnavailableError, OverloadedError, DeadlineError)
PAUSE = 0.5  # seconds between two tries


class Model(Protocol):
    """The model that answers: all rows of a table have it in common."""

    @property
    def version(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def sha256(self) -> str: ...


class Classifier(Model, Protocol):
    """Classifies, from any thread."""

    def classify(self, images: NDArray[np.uint8], /, *, include_probabilities: bool) -> Predictions: ...


def opened(
    settings: ScoreSettings, precision: CpuPrecision, say: Callable[[str], None]
) -> AbstractContextManager[Classifier]:
    """The server that the settings name, or else the model in this process, in that precision."""
    if settings.server is not None:
        return RemoteClassifier(settings.server, settings, say)
    return contextlib.nullcontext(LocalClassifier(settings.models, precision=precision))


class RemoteClassifier:
    """A server. While it is away, calls wait, for `patience` seconds at most. Leaving its context ends them.

    Args:
        server: Its address.
        settings: How it is called.
        say: Takes a line when the server is gone, and when it is back.

    Raises:
        ScoreError: it is away for longer, or comes back with another model.
    """

    def __init__(self, server: str, settings: ScoreSettings, say: Callable[[str], None]) -> None:
        # The client does not wait by itself: a server that comes back may have another model, which is checked here.
        self._client = Client(server, timeout=settings.timeout, wait_for_ready=False)
        self._patience = settings.patience
        self._say = say
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._away = False
        with Client(server, timeout=settings.timeout) as waiting:
            model = waiting.model()
        self.version, self.precision, self.sha256 = model.version, model.precision, model.sha256

    def classify(self, images: NDArray[np.uint8], /, *, include_probabilities: bool) -> Predictions:
        until = time.monotonic() + self._patience
        while True:
            try:
                if self._away:
                    self._check_model()
                predictions = self._client.classify(images, include_probabilities=include_probabilities)
            except AWAY as error:
                self._wait(error, until)
            else:
                self._set_away(away=False, line="the server is back")
                if predictions.model_version == self.version:
                    return predictions
                self._away = True  # it was, if only between two calls

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._client.close()

    def _check_model(self) -> None:
        if facts(now := self._client.model()) != facts(self):
            raise ScoreError(
                f"the server came back with {told(now)}, and the table was begun with {told(self)};"
                " serve that again, or start again with --overwrite"
            )

    def _wait(self, error: ClientError, until: float) -> None:
        if self._closed.is_set() or time.monotonic() > until:
            raise ScoreError(f"{error}; it was away for {self._patience:.0f} s (--patience)") from error
        self._set_away(away=True, line=f"{error}; waiting for it")
        self._closed.wait(PAUSE)

    def _set_away(self, *, away: bool, line: str) -> None:
        with self._lock:
            if away != self._away:
                self._away = away
                self._say(line)


def facts(model: Model) -> dict[str, str]:
    """Which model answers, for the journal."""
    return {"version": model.version, "precision": model.precision, "SHA-256 of the model": model.sha256}


def told(model: Model) -> str:
    """Which model answers, for the user."""
    return f"version {model.version}, {model.precision}, SHA-256 {model.sha256[:12]}"
