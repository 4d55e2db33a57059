"""`ModelConfig` on the wire: how the server batches, queues and runs the model, in Triton's terms."""

from digits.model.runtime import CUDA
from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.oip.model_info import INPUT, ModelInfo
from digits.serve.settings import ServeSettings

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"


def model_config(model: ModelInfo, settings: ServeSettings) -> pb.ModelConfig:
    gpu = model.provider == CUDA
    parameters = {"precision": model.precision, "provider": model.provider}
    return pb.ModelConfig(
        name=model.name,
        platform=PLATFORM,
        backend=BACKEND,
        version_policy=pb.ModelVersionPolicy(latest=pb.ModelVersionPolicy.Latest(num_versions=1)),
        max_batch_size=settings.max_batch_size,
        input=[pb.ModelInput(name=INPUT, data_type=pb.TYPE_UINT8, dims=[28, 28])],
        output=[
            pb.ModelOutput(name=o.name, data_type=pb.DataType.Value(f"TYPE_{o.datatype}"), dims=[o.columns])
            for o in model.outputs
        ],
        dynamic_batching=pb.ModelDynamicBatching(
            max_queue_delay_microseconds=settings.max_queue_delay_microseconds,
            priority_levels=settings.priority_levels,
            default_priority_level=settings.default_level,
            default_queue_policy=pb.ModelQueuePolicy(
                timeout_action=pb.ModelQueuePolicy.REJECT,
                default_timeout_microseconds=settings.default_timeout_microseconds,
                allow_timeout_override=True,
                max_queue_size=settings.max_queue_size,
            ),
        ),
        instance_group=[
            pb.ModelInstanceGroup(
                name=model.name,
                kind=pb.ModelInstanceGroup.KIND_GPU if gpu else pb.ModelInstanceGroup.KIND_CPU,
                count=settings.instances,
            )
        ],
        default_model_filename=model.file,
        parameters={name: pb.ModelParameter(string_value=value) for name, value in parameters.items()},
    )
