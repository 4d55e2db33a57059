"""config.pbtxt: Triton's own protobuf reads it, and it fits the repository beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx

from digits.model.repository import CONFIG, MANIFEST, Repository, open_repository
from digits.model.triton import config_pbtxt

# In a process of its own: tritonclient registers names of its own with protobuf. Prints what it read as JSON; text that
# is no ModelConfig, such as one with a field too many, is an error.
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


def test_triton_reads_the_configuration_of_what_was_exported(models: Path) -> None:
    config = parsed(models / "digits")
    assert config["name"] == "digits"
    assert config["backend"] == "onnxruntime"
    assert config["platform"] == "onnxruntime_onnx"
    assert config["max_batch_size"] == 1024
    assert config["scheduling"] == "dynamic_batching"
    assert config["version_policy"] == {"latest": {"num_versions": 1}}  # Triton's latest is the highest number
    # Protobuf's JSON has 64-bit integers as text.
    assert config["input"] == [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": ["28", "28"]}]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": ["10"]}]
    file = Repository(models).open().folder / config["default_model_filename"]
    assert file == Repository(models).open().file("fp32")


def test_the_configuration_is_the_signature_of_the_model_file(models: Path) -> None:
    """Where Triton batches, its dims are those of an image; the batch dimension is its own."""
    config = parsed(models / "digits")
    graph = onnx.load(Repository(models).open().folder / config["default_model_filename"]).graph
    types = {"TYPE_UINT8": onnx.TensorProto.UINT8, "TYPE_FP32": onnx.TensorProto.FLOAT}
    for described, nodes in ((config["input"], graph.input), (config["output"], graph.output)):
        assert [entry["name"] for entry in described] == [node.name for node in nodes]
        for entry, node in zip(described, nodes, strict=True):
            batch, *dims = node.type.tensor_type.shape.dim
            assert batch.dim_param == "batch"
            assert [int(dim) for dim in entry["dims"]] == [dim.dim_value for dim in dims]
            assert types[entry["data_type"]] == node.type.tensor_type.elem_type


def test_the_configuration_follows_the_newest_version(models: Path, tmp_path: Path) -> None:
    """To a file of another name, and back; what else lies there is none of Triton's versions."""
    copy = Path(shutil.copytree(models, tmp_path / "models"))
    repository = Repository(copy)
    with repository.staging() as staged:
        for file in (repository.folder / "1").iterdir():
            shutil.copy(file, staged)
        (staged / "model.onnx").rename(staged / "digits.onnx")
        manifest = (staged / MANIFEST).read_text()
        (staged / MANIFEST).write_text(manifest.replace('"file": "model.onnx"', '"file": "digits.onnx"'))
        repository.publish(staged)
    assert parsed(repository.folder)["default_model_filename"] == "digits.onnx"
    repository.rollback()
    assert parsed(repository.folder)["default_model_filename"] == "model.onnx"
    assert {entry.name for entry in repository.folder.iterdir()} == {"1", ".withdrawn-2", CONFIG}


def test_the_model_in_the_box_has_its_configuration() -> None:
    newest = open_repository(None).open()
    assert (newest.folder.parent / CONFIG).read_text() == config_pbtxt(newest.manifest)
