"""The model in Triton's Python backend: copied into its repository, and run by its interpreter, not by ours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    """One run for all requests that Triton has gathered; pixels that come as floats, 0 to 1, are made bytes first."""

    def initialize(self, args: dict[str, str]) -> None:
        parameters = json.loads(args["model_config"])["parameters"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            parameters["model_file"]["string_value"], options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        given = [triton.get_input_tensor_by_name(request, "pixels").as_numpy() for request in requests]
        pixels = np.concatenate(given)
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels * np.float32(255)).astype(np.uint8)
        (rows,) = self._session.run(["probabilities"], {"pixels": pixels})
        ends = np.cumsum([len(images) for images in given])[:-1]
        return [triton.InferenceResponse([triton.Tensor("probabilities", part)]) for part in np.split(rows, ends)]
