"""config.pbtxt: Triton's own protobuf reads it, and it describes the repository that it is in."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx

from digits.model.repository import CONFIG, Repository
from digits.model.triton import config_pbtxt

# In a process of its own: tritonclient registers its own names with protobuf. Prints the configuration as JSON; text
# that is not a ModelConfig, such as one with an unknown field, is an error.
READ = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

config = text_format.Parse(sys.stdin.read(), ModelConfig())
read = json_format.MessageToDict(config, preserving_proto_field_name=True)
print(json.dumps(read | {"scheduling": config.WhichOneof("scheduling_choice")}))
"""


def parsed(folder: Path) -> dict[str, Any]:
    """The folder's config.pbtxt as Triton reads it."""
    command = [sys.executable, "-c", READ]
    read = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, input=(folder / CONFIG).read_text())
    fields: dict[str, Any] = json.loads(read.stdout)
    return fields


def test_triton_reads_the_configuration_and_it_has_the_signature_of_the_model_file(bundled: Repository) -> None:
    """With Triton's batching, `dims` are those of one image; Triton adds the batch dimension."""
    newest, config = bundled.open(), parsed(bundled.folder)
    assert (bundled.folder / CONFIG).read_text() == config_pbtxt(newest.manifest)
    assert (config["name"], config["backend"], config["platform"]) == ("digits", "onnxruntime", "onnxruntime_onnx")
    assert (config["max_batch_size"], config["scheduling"]) == (1024, "dynamic_batching")
    assert config["version_policy"] == {"latest": {"num_versions": 1}}  # Triton's latest is the highest number
    # Protobuf's JSON has 64-bit integers as text.
    assert config["input"] == [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": ["28", "28"]}]
    novelty = {"name": "novelty", "data_type": "TYPE_FP32", "dims": ["1"], "reshape": {}}  # to no dimension
    expected = [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": ["10"]}, novelty]
    assert config["output"] == expected[: len(config["output"])]
    file = newest.folder / config["default_model_filename"]
    assert file == newest.file("fp32")
    graph = onnx.load(file).graph
    types = {"TYPE_UINT8": onnx.TensorProto.UINT8, "TYPE_FP32": onnx.TensorProto.FLOAT}
    for described, nodes in ((config["input"], graph.input), (config["output"], graph.output)):
        assert [entry["name"] for entry in described] == [node.name for node in nodes]
        for entry, node in zip(described, nodes, strict=True):
            batch, *dims = node.type.tensor_type.shape.dim
            assert batch.dim_param == "batch"
            shape = [] if "reshape" in entry else entry["dims"]
            assert [int(dim) for dim in shape] == [dim.dim_value for dim in dims]
            assert types[entry["data_type"]] == node.type.tensor_type.elem_type
