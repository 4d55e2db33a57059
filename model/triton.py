"""config.pbtxt: how NVIDIA's Triton serves the same repository with its ONNX Runtime backend."""

from digits.images.digit import CLASSES, SIDE
from digits.model.engine import INPUT, NOVELTY, OUTPUT
from digits.model.manifest import FP32, Manifest

MAX_BATCH_SIZE = 1024


def config_pbtxt(manifest: Manifest) -> str:
    """Triton's `ModelConfig` in protobuf's text format: fp32, which every version has, with dynamic batching."""
    novelty = (
        ""
        if manifest.novelty is None
        else f'\noutput [ {{ name: "{NOVELTY}" data_type: TYPE_FP32 dims: [ 1 ] reshape: {{ shape: [ ] }} }} ]'
    )
    return f"""\
# {manifest.name}: generated from the manifest.json of the newest version.
name: "{manifest.name}"
backend: "onnxruntime"
platform: "onnxruntime_onnx"
default_model_filename: "{manifest.variants[FP32].file}"
max_batch_size: {MAX_BATCH_SIZE}
input [ {{ name: "{INPUT}" data_type: TYPE_UINT8 dims: [ {SIDE}, {SIDE} ] }} ]
output [ {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ {CLASSES} ] }} ]{novelty}
version_policy {{ latest {{ num_versions: 1 }} }}
dynamic_batching {{ }}
"""
