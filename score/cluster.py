"""Chunks to answers on a Ray cluster, by Ray Data. Needs digits-serving[ray] on every node."""

import contextlib
import itertools
import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from digits.score.chunk import Chunk, Scored
from digits.score.classifiers import Classifier, facts, opened
from digits.score.decoding import decode
from digits.score.engine import Engine, answer
from digits.score.settings import ScoreSettings
from digits.storage.cores import usable_cores

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import below: it sends usage statistics otherwise
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # it warns otherwise that this will change
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import ray
import ray.data

WINDOW = 512  # chunks in one pipeline, which is all that the cluster holds


@contextlib.contextmanager
def ray_engine(settings: ScoreSettings, classifier: Classifier) -> Iterator[Engine]:
    """The engine of a cluster: the one at `ray_address`, or one that is started here and ends with the context.

    Args:
        settings: For the nodes' classifiers; the files are read by the nodes, under the same paths.
        classifier: This machine's. Every node opens the same version, in the same precision.
    """
    ray.init(
        address=settings.ray_address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **({} if settings.ray_address else {"include_dashboard": False, "num_cpus": usable_cores()}),
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True

    def engine(chunks: Iterable[Chunk]) -> Iterator[Scored]:
        chunks = iter(chunks)
        while window := [{"chunk": pickle.dumps(chunk)} for chunk in itertools.islice(chunks, WINDOW)]:
            answers = ray.data.from_items(window, override_num_blocks=len(window)).map_batches(
                Scorer,
                fn_constructor_args=(settings, facts(classifier)),
                batch_size=1,
                concurrency=(1, max(1, settings.processes or int(ray.cluster_resources()["CPU"]))),
            )
            for row in answers.iter_rows():
                yield pickle.loads(row["scored"])  # noqa: S301 it comes from our own function

    try:
        yield engine
    finally:
        ray.shutdown()


class Scorer:
    """Decodes and classifies chunks on the nodes. Made once for each of the cluster's workers."""

    def __init__(self, settings: ScoreSettings, expected: dict[str, str]) -> None:
        precision: Any = expected["precision"]
        self._settings = settings
        self._classifier = contextlib.ExitStack().enter_context(opened(settings, precision, logging.warning))
        if (found := facts(self._classifier)) != expected:
            raise ValueError(f"this node's model is {found}, and the head's is {expected}")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        chunk: Chunk = pickle.loads(batch["chunk"][0])  # noqa: S301 it comes from our own function
        scored = answer(chunk, decode(chunk.contents, several=self._settings.several), self._classifier, self._settings)
        return {"scored": [pickle.dumps(replace(scored, chunk=replace(scored.chunk, contents=[])))]}
