"""OpenVINO beside ONNX Runtime, where it is installed: a time to compare with, nothing that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def openvino_run(path: Path) -> Callable[[NDArray[np.uint8]], object] | None:
    """Runs an ONNX file on one thread of the CPU in OpenVINO's fastest way; None where it is not to be had."""
    try:
        import openvino
    except ImportError:
        return None
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    except RuntimeError:  # an operator that it does not know: then there is no time to compare with
        return None
    return lambda pixels: request.infer([pixels], share_inputs=True, share_outputs=True)[0]
