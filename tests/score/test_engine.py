"""The pool of decoding processes, and a server that classifies."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digits.client.errors import UnavailableError
from digits.client.local import LocalClassifier
from digits.score.chunk import Chunk
from digits.score.classifiers import RemoteClassifier, opened
from digits.score.decoding import CRASHED, Decoders
from digits.score.engine import local_engine
from digits.score.errors import ScoreError
from digits.score.settings import ScoreSettings
from digits.score.sources import Sources


class Crash:
    """Ends the process that reads it."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (1,)


def test_a_picture_that_crashes_its_decoder_is_found(folders: Path) -> None:
    """The others of its chunk are decoded again, one by one; later chunks are decoded as usual."""
    paths: list[Any] = sorted(map(str, (folders / "2").iterdir()))[:3]
    with Decoders(1) as decoders:
        whole = decoders.decode(paths)
        found = [decoders.decode(contents) for contents in (paths, [paths[0], Crash(), *paths[1:]], paths)]
    for decoded in found:
        assert decoded.pixels.tobytes() == whole.pixels.tobytes()
    assert [decoded.problems for decoded in found] == [{}, {1: CRASHED}, {}]


def test_a_server_that_goes_away_is_waited_for(serving: Callable[..., Any], folders: Path, tmp_path: Path) -> None:
    """It is killed between two chunks, and started again at the same address: all rows are as in this process.

    When it is away for longer than `patience`, that is an error.
    """
    address = f"unix:{tmp_path}/socket"
    settings = ScoreSettings(server=address, processes=1)
    said: list[str] = []
    with ExitStack() as stack:
        start = partial(serving, "--precision", "fp32", address=address)

        def say(line: str) -> None:
            said.append(line)
            if line.endswith("waiting for it"):
                servers.append(stack.enter_context(start()))

        def kill() -> None:
            servers[-1].process.kill()
            servers[-1].process.wait()

        def chunks() -> Iterator[Chunk]:
            yield from Sources([str(folders)]).chunks()
            kill()
            yield from Sources([str(folders)]).chunks()

        servers = [stack.enter_context(start())]
        with opened(settings, "auto", say) as classifier, local_engine(settings, classifier) as engine:
            scored = [*engine(chunks())]
        impatient = stack.enter_context(RemoteClassifier(address, ScoreSettings(patience=0), said.append))
        kill()
        with pytest.raises(ScoreError, match=r"it was away for 0 s \(--patience\)$"):
            impatient.classify(scored[0].decoded.pixels, include_probabilities=False)
    raw = LocalClassifier(precision="fp32").classify(np.concatenate([one.decoded.pixels for one in scored]))
    assert sum(len(one.chunk) for one in scored) == 2 * len([*folders.rglob("*.png")])
    assert np.concatenate([one.digits for one in scored]).tolist() == raw.digits.tolist()
    assert np.concatenate([one.confidences for one in scored]).tobytes() == raw.confidences.tobytes()
    assert said[1:] == ["the server is back"]
    with pytest.raises(UnavailableError):
        RemoteClassifier(f"unix:{tmp_path}/nobody", ScoreSettings(patience=0, timeout=0.1), print)
