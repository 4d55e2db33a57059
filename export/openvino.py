"""OpenVINO, if it is installed: a time to compare ONNX Runtime with. It serves nothing."""

from collections.abc import Callable
from pathlib import Path

from digits.model.golden import Pixels


def openvino_run(path: Path) -> Callable[[Pixels], object] | None:
    """Runs an ONNX file on one thread of the CPU in OpenVINO's fastest way; None if OpenVINO cannot run it here."""
    try:
        import openvino
    except ImportError:
        return None
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    except RuntimeError:  # an operator that it does not support
        return None
    return lambda pixels: request.infer([pixels], share_inputs=True, share_outputs=True)[0]
