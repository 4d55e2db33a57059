"""The model in Triton's Python backend: copied to its repository, and run by its interpreter."""

from __future__ import annotations

import json
from typing import Any

import triton_python_backend_utils as triton
from onnx_model import OnnxModel


class TritonPythonModel:
    """One run for all requests that Triton has batched."""

    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        self._model = OnnxModel(parameters["model_file"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        given = [triton.get_input_tensor_by_name(request, "pixels").as_numpy() for request in requests]
        parts = self._model.batch(given)
        return [triton.InferenceResponse([triton.Tensor("probabilities", part)]) for part in parts]
