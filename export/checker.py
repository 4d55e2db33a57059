"""onnx.checker: whether a graph is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.storage.text import first_line

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


def checker_fault(model: onnx.ModelProto | Path) -> str | None:
    """The first line of what the full check rejects in a model or an ONNX file.

    None if it is valid, or if onnx is not installed, as on a serving host.
    """
    try:
        import onnx
    except ImportError:
        return None
    try:
        onnx.checker.check_model(model if isinstance(model, onnx.ModelProto) else str(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return first_line(error)
    return None
