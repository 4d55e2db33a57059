"""The engine: it gives the published answers on the provider that was requested, or an error that says why not."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from digits.model.checksums import write_checksums
from digits.model.engine import Engine, load_engine
from digits.model.errors import ModelError, ProviderError, RepositoryError
from digits.model.golden import SIZE, Golden, choose
from digits.model.repository import Repository
from digits.model.runtime import CPU, CUDA


def load(version: Path, **options: object) -> Engine:
    write_checksums(version)
    return load_engine(Repository(version.parents[1]).open(), **options)  # type: ignore[arg-type] # passed on


def test_a_model_of_another_signature_is_refused(version: Path) -> None:
    model = onnx.load(version / "model.onnx")
    model.graph.input[0].name = "images"
    for node in model.graph.node:
        node.input[:] = ["images" if name == "pixels" else name for name in node.input]
    onnx.save(model, version / "model.onnx")
    with pytest.raises(ModelError, match=r"its input is .*images.*; expected .*pixels"):
        load(version)


def test_a_truncated_file_is_one_line(version: Path) -> None:
    file = version / "model.onnx"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.onnx: ") as error:
        load(version)
    assert "\n" not in str(error.value)


def test_a_damaged_golden_set_is_one_line(version: Path) -> None:
    whole = (version / "golden.npz").read_bytes()
    for damaged in (b"", b"PK", whole[:-100], whole[:1000] + b"x" + whole[1001:]):
        (version / "golden.npz").write_bytes(damaged)
        with pytest.raises(RepositoryError, match=r"golden\.npz: not a golden set"):
            load(version)


def test_cuda_never_falls_back_to_the_cpu_silently(bundled: Repository) -> None:
    """If CUDA cannot run, requesting it is an error that says why; `auto` says which provider is in use."""
    onnxruntime = pytest.importorskip("onnxruntime")
    assert load_engine(bundled.open(), provider="auto").provider in {CPU, CUDA}
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ProviderError, match=r"built without CUDA: install digits-serving\[cuda\]"):
        load_engine(bundled.open(), provider="cuda")


def test_the_golden_set_is_seeded_and_holds_the_smallest_margins(bundled: Repository) -> None:
    golden = Golden.read(bundled.open().golden)
    assert golden.pixels.shape == (SIZE, 28, 28)
    assert golden.reference.shape == golden.answers["fp32"].shape == (SIZE, 10)
    probabilities = np.random.default_rng(1).dirichlet(np.ones(10), 1000).astype(np.float32)
    chosen = choose(probabilities)
    assert len(np.unique(chosen)) == SIZE
    assert np.array_equal(chosen, choose(probabilities))
    ranked = np.sort(probabilities, axis=1)
    margin = ranked[:, -1] - ranked[:, -2]
    assert set(np.argsort(margin)[: SIZE // 2]) <= set(chosen)
    assert np.array_equal(choose(probabilities[:100]), np.arange(100))  # all images of a small test set
