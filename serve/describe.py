"""`GetModel` on the wire: what is served, the evidence it was published with, and the limits in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.protos.digits.v1 import digits_pb2

if TYPE_CHECKING:
    from digits.model.repository import ModelVersion
    from digits.model.selection import Selection
    from digits.serve.queue import QueuePolicy
    from digits.serve.transport.choice import TransportChoice


def describe(
    model: ModelVersion, selection: Selection, transport: TransportChoice, policy: QueuePolicy, max_message_bytes: int
) -> bytes:
    """The GetModelResponse of a server. It does not change while the server runs."""
    manifest = model.manifest
    evidence = manifest.variants[selection.variant]
    return digits_pb2.GetModelResponse(
        name=manifest.name,
        version=str(model.number),
        provider=selection.engine.provider,
        precision=selection.variant,
        precision_reason=selection.reason,
        transport=transport.name,
        transport_reason=transport.reason,
        labels=manifest.labels,
        created=manifest.created,
        evidence=digits_pb2.Evidence(
            test_source=manifest.test_source,
            test_images=manifest.test_images,
            accuracy=evidence.accuracy,
            max_abs_diff=evidence.max_abs_diff,
            mean_abs_diff=evidence.mean_abs_diff,
            argmax_agreement=evidence.argmax_agreement,
        ),
        limits=digits_pb2.Limits(
            max_batch_size=policy.max_batch_size,
            max_queue_size=policy.max_queue_size,
            max_message_bytes=max_message_bytes,
            priority_levels=policy.priority_levels,
            default_priority_level=policy.default_priority_level,
        ),
    ).SerializeToString()
