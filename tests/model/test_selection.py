"""The choice of a variant on this host: only variants that pass their self-test, and the fastest one."""

from pathlib import Path

import onnx
import pytest

from digits.model.checksums import write_checksums
from digits.model.engine import Engine
from digits.model.errors import ProviderError, SelfTestError
from digits.model.golden import Golden
from digits.model.manifest import Manifest
from digits.model.repository import GOLDEN, MANIFEST, Repository
from digits.model.selection import select


def spoil(version: Path, file: str) -> None:
    """Changes the largest weights of an ONNX file by a tenth, with checksums that match."""
    model = onnx.load(version / file)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array((values * 0.9).astype(values.dtype), weights.name))
    onnx.save(model, version / file)
    write_checksums(version)


def test_auto_takes_a_variant_that_passes_and_says_why(repository: Repository, version: Path) -> None:
    golden = Golden.read(version / GOLDEN)
    golden.answers["int8"] = Engine(version / "model.int8.onnx", provider="cpu").run(golden.pixels)  # of this CPU
    golden.write(version / GOLDEN)
    write_checksums(version)
    selection = select(repository.open(), provider="cpu")
    assert selection.variant in {"fp32", "int8"}
    assert selection.reason.startswith("int8 is ")
    assert " times as fast as fp32 here (batch 1: " in selection.reason


def test_auto_serves_fp32_if_int8_deviates_from_its_published_answers(repository: Repository, version: Path) -> None:
    """As on a CPU without VNNI, whose int8 saturates."""
    spoil(version, "model.int8.onnx")
    selection = select(repository.open(), provider="cpu")
    assert selection.variant == "fp32"
    assert selection.reason.startswith("int8 is not served here: ")
    assert "is off its own answer where it was exported by" in selection.reason
    with pytest.raises(SelfTestError, match="off its own answer where it was exported"):
        select(repository.open(), precision="int8", provider="cpu")


def test_nothing_is_served_if_fp32_deviates(repository: Repository, version: Path) -> None:
    spoil(version, "model.onnx")
    with pytest.raises(SelfTestError, match="off the reference's answer"):
        select(repository.open(), provider="cpu")


def test_a_variant_that_the_provider_cannot_run_is_an_error(repository: Repository, version: Path) -> None:
    manifest = Manifest.read(version / MANIFEST)
    manifest.variants["fp16"] = manifest.variants["fp32"]
    manifest.write(version / MANIFEST)
    write_checksums(version)
    model = repository.open()
    with pytest.raises(ProviderError, match="int8 runs on the CPU only; say --provider cpu"):
        select(model, precision="int8", provider="cuda")
    with pytest.raises(ProviderError, match="fp16 runs on CUDA only; say --provider cuda"):
        select(model, precision="fp16", provider="cpu")
    with pytest.raises(ProviderError, match="built without CUDA"):
        select(model, precision="fp16", provider="auto")
