"""Who classifies: the model in this process, or a server that may be away for a while."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol

from digits.client import Client
from digits.client.errors import DeadlineError, OverloadedError, UnavailableError
from digits.client.local import LocalClassifier
from digits.report.cores import usable_cores
from digits.score.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from digits.client.errors import ClientError
    from digits.client.predictions import Predictions
    from digits.score.settings import Precision, ScoreSettings

AWAY = (UnavailableError, OverloadedError, DeadlineError)
PAUSE = 0.5  # seconds between two tries


class Classifier(Protocol):
    """Classifies, from any thread.

    Attributes:
        facts: Which model answers: what the rows of a table have in common.
    """

    @property
    def facts(self) -> dict[str, str]: ...

    def classify(self, pixels: NDArray[np.uint8]) -> Predictions: ...

    def close(self) -> None:
        """Lets no call wait any longer."""


def opened(settings: ScoreSettings, precision: Precision, say: Callable[[str], None]) -> Classifier:
    """The server that the settings name, or else the model in this process, in that precision."""
    return Here(settings, precision) if settings.server is None else There(settings.server, settings, say)


class Here:
    """The model in this process.

    Args:
        settings: Which model.
        precision: Which variant of it; a scoring that goes on takes the one that it began with.
    """

    def __init__(self, settings: ScoreSettings, precision: Precision) -> None:
        # Few threads run the model, since each keeps some tens of MB for the next time.
        self._threads = ThreadPoolExecutor(usable_cores())
        self._classifier = LocalClassifier(settings.models, precision=precision)
        self._probabilities = settings.probabilities
        self.facts = {"version": self._classifier.version, "precision": self._classifier.precision}

    def classify(self, pixels: NDArray[np.uint8]) -> Predictions:
        run = partial(self._classifier.classify, pixels, include_probabilities=self._probabilities)
        return self._threads.submit(run).result()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class There:
    """A server. While it is away, calls wait, for `patience` seconds at most.

    Args:
        server: Its address.
        settings: How it is called.
        say: Takes a line when the server is gone, and when it is back.

    Raises:
        ScoreError: it is away for longer, or comes back with another model.
    """

    def __init__(self, server: str, settings: ScoreSettings, say: Callable[[str], None]) -> None:
        # It does not wait by itself: what came back may have another model, which has to be seen.
        self._client = Client(server, timeout=settings.timeout, wait_for_ready=False)
        self._probabilities = settings.probabilities
        self._patience = settings.patience
        self._say = say
        self._closed = threading.Event()
        self._turn = threading.Lock()
        self._away = False
        with Client(server, timeout=settings.timeout) as waiting:
            self.facts = _facts(waiting)

    def classify(self, pixels: NDArray[np.uint8]) -> Predictions:
        until = time.monotonic() + self._patience
        while True:
            try:
                if self._away:
                    self._check_model()
                predictions = self._client.classify(pixels, include_probabilities=self._probabilities)
            except AWAY as error:
                self._wait(error, until)
            else:
                self._back()
                if predictions.model_version != self.facts["version"]:
                    self._away = True  # it was, if only between two calls
                    continue
                return predictions

    def close(self) -> None:
        self._closed.set()
        self._client.close()

    def _check_model(self) -> None:
        if (now := _facts(self._client)) != self.facts:
            raise ScoreError(
                f"the server came back with {told(now)}, and the table was begun with {told(self.facts)};"
                " serve that again, or start anew with --overwrite"
            )

    def _wait(self, error: ClientError, until: float) -> None:
        if self._closed.is_set() or time.monotonic() > until:
            raise ScoreError(f"{error}; it was away for {self._patience:.0f} s (--patience)") from error
        with self._turn:
            if not self._away:
                self._away = True
                self._say(f"{error}; waiting for it")
        self._closed.wait(PAUSE)

    def _back(self) -> None:
        with self._turn:
            if self._away:
                self._away = False
                self._say("the server is back")


def _facts(client: Client) -> dict[str, str]:
    model = client.model()
    return {"version": model.version, "precision": model.precision}


def told(facts: dict[str, str]) -> str:
    """Which model answers, for people."""
    return f"version {facts['version']}, {facts['precision']}"
