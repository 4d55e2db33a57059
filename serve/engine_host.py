"""The engine host: the model version that a server serves, the variant chosen for this machine, and what they are."""

import logging
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from digits.images.version import PREPROCESSING_VERSION
from digits.model.answer import Answer
from digits.model.repository import open_repository
from digits.model.selection import select
from digits.protos.digits.v1 import digits_pb2
from digits.serve.oip.model_info import ModelInfo
from digits.serve.settings import ServeSettings
from digits.serve.transport.transport import TransportChoice

MEASURED = ("accuracy", "max_abs_diff", "mean_abs_diff", "argmax_agreement")
LIMITS = ("max_batch_size", "max_queue_size", "max_message_bytes", "priority_levels")

log = logging.getLogger(__name__)


class EngineHost:
    """Opens one version of a model, and runs the variant that the settings ask for or that is fastest here."""

    def __init__(self, settings: ServeSettings, version: int | None, reason: str | None) -> None:
        """Opens a version, or the newest one if None; a `reason` replaces the selection's. Raises ModelError."""
        self.model = open_repository(settings.models).open(version)  # the version in its repository
        log.info("model: %s", "bundled" if settings.models is None else self.model.folder)
        selection = select(
            self.model, precision=settings.precision, provider=settings.provider, threads=settings.threads
        )
        # Its variant, open and tested, and why it was chosen.
        self.selection = replace(selection, reason=reason or selection.reason)
        log.info("%s is served: %s", self.selection.variant, self.selection.reason)
        manifest = self.model.manifest
        self.info = ModelInfo(  # what callers are told of it
            name=manifest.name,
            version=str(self.model.number),
            labels=tuple(manifest.labels),
            precision=selection.variant,
            provider=selection.engine.provider,
            file=manifest.variants[selection.variant].file,
            has_novelty=selection.engine.has_novelty,
        )
        # The novelty above which an image does not show a digit; None if the model has no novelty.
        self.novelty_threshold = selection.engine.threshold(manifest)
        self._delay = settings.slow_down_microseconds / 1e6
        # Runs it: uint8 [n, 28, 28] to the answer to n images.
        self.run = self._run_slowly if self._delay else selection.engine.answer

    def describe(self, settings: ServeSettings, transport: TransportChoice) -> bytes:
        """The GetModelResponse: the model, its measurements from before it was published, and the limits in force."""
        manifest, info = self.model.manifest, self.info
        evidence = manifest.variants[info.precision]
        return digits_pb2.GetModelResponse(
            name=info.name,
            version=info.version,
            provider=info.provider,
            precision=info.precision,
            precision_reason=self.selection.reason,
            transport=transport.name,
            transport_reason=transport.reason,
            preprocessing_version=PREPROCESSING_VERSION,
            sha256=self.model.sha256(info.precision),
            labels=info.labels,
            created=manifest.created,
            novelty_threshold=self.novelty_threshold,
            evidence=digits_pb2.Evidence(
                test_source=manifest.test_source,
                test_images=manifest.test_images,
                **{name: getattr(evidence, name) for name in MEASURED},
            ),
            limits=digits_pb2.Limits(
                **{name: getattr(settings, name) for name in LIMITS}, default_priority_level=settings.default_level
            ),
        ).SerializeToString()

    def _run_slowly(self, pixels: NDArray[np.uint8]) -> Answer:
        time.sleep(self._delay)
        return self.selection.engine.answer(pixels)
