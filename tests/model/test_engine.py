"""The engine: it gives the published answers on the provider that was requested, or an error that says why not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from digits.model.checksums import write_checksums
from digits.model.engine import Engine, load_engine
from digits.model.errors import ModelError, ProviderError, RepositoryError, SelfTestError
from digits.model.golden import SIZE, Golden, choose
from digits.model.repository import Repository
from digits.model.runtime import CPU, CUDA


def load(version: Path, **options: object) -> Engine:
    write_checksums(version)
    return load_engine(Repository(version.parents[1]).open(), **options)  # type: ignore[arg-type] # passed on


@pytest.mark.parametrize("batch", [1, 2, 7, 64, 513, 1000])
def test_an_answer_does_not_depend_on_its_batch(
    bundled: Repository, test_digits: NDArray[np.uint8], batch: int
) -> None:
    engine = load_engine(bundled.open(), provider="cpu")
    whole = engine.run(test_digits)
    parts = [engine.run(test_digits[start : start + batch]) for start in range(0, 1000, batch)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert whole.dtype == np.float32
    assert whole.shape == (1000, 10)
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-5)
    assert (whole >= 0).all()


def test_changed_weights_fail_the_self_test(version: Path) -> None:
    """Although the checksums match."""
    model = onnx.load(version / "model.onnx")
    weights = next(tensor for tensor in model.graph.initializer if list(tensor.dims)[1:] == [10])
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, version / "model.onnx")
    with pytest.raises(SelfTestError, match=r"golden image \d+ is off the reference's answer by .*; 1e-04 is allowed"):
        load(version)


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


def test_an_unknown_variant_is_named(bundled: Repository) -> None:
    with pytest.raises(RepositoryError, match="no variant 'int4'; it has fp32, int8"):
        load_engine(bundled.open(), variant="int4")


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
