"""`ModelConfig` on the wire: how the server batches, queues and runs the model, in Triton's terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.oip.model_info import INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from digits.serve.oip.model_info import ModelInfo

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """How a server runs its model.

    Attributes:
        max_batch_size: Most images in one call, and in one batch.
        max_queue_size: Most calls that wait at a time.
        max_queue_delay_microseconds: The longest that a batch is held back for more.
        priority_levels: 0 if there are none.
        default_priority_level: Of calls without a priority.
        default_timeout_microseconds: How long a call may wait that names no timeout; 0 for ever.
        instances: How many copies of the model run at a time.
        gpu: Whether they do on a GPU.
        file: The model's file in its version's folder.
        parameters: What else there is to say, such as the variant that is served.
    """

    max_batch_size: int
    max_queue_size: int
    max_queue_delay_microseconds: int = 0
    priority_levels: int = 0
    default_priority_level: int = 0
    default_timeout_microseconds: int = 0
    instances: int = 1
    gpu: bool = False
    file: str = "model.onnx"
    parameters: Mapping[str, str] = field(default_factory=dict)


def model_config(model: ModelInfo, scheduling: Scheduling) -> pb.ModelConfig:
    return pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=BACKEND,
        version_policy=pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1)),
        max_batch_size=scheduling.max_batch_size,
        input=[pb.ModelInput(name=INPUT, data_type=pb.TYPE_UINT8, dims=[28, 28])],
        output=[
            pb.ModelOutput(name=o.name, data_type=pb.DataType.Value(f"TYPE_{o.datatype}"), dims=[o.columns])
            for o in model.outputs
        ],
        dynamic_batching=_dynamic_batching(scheduling),
        instance_group=[
            pb.ModelInstanceGroup(
                name=model.name,
                kind=pb.ModelInstanceGroup.KIND_GPU if scheduling.gpu else pb.ModelInstanceGroup.KIND_CPU,
                count=scheduling.instances,
            )
        ],
        default_model_filename=scheduling.file,
        parameters={name: pb.ModelParameter(string_value=value) for name, value in scheduling.parameters.items()},
    )


def _dynamic_batching(scheduling: Scheduling) -> pb.ModelDynamicBatching:
    return pb.ModelDynamicBatching(
        max_queue_delay_microseconds=scheduling.max_queue_delay_microseconds,
        priority_levels=scheduling.priority_levels,
        default_priority_level=scheduling.default_priority_level,
        default_queue_policy=pb.ModelQueuePolicy(
            timeout_action=pb.ModelQueuePolicy.REJECT,
            default_timeout_microseconds=scheduling.default_timeout_microseconds,
            allow_timeout_override=True,
            max_queue_size=scheduling.max_queue_size,
        ),
    )
