"""int8: static, exact at its input, near to fp32, and an answer never depends on the neighbours in its batch."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from digits.export.calibration import calibrated, entropy_range, full_range, percentile_range
from digits.export.dense_layers import dense_layers
from digits.export.errors import UnsupportedError
from digits.export.fp16 import to_fp16
from digits.export.preprocessing import Preprocessing, attach
from digits.model.engine import Engine, load_engine
from digits.model.parity import compare
from digits.model.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

    TorchForm = Callable[..., onnx.ModelProto]

STATIC = {"Gemm", "QGemm", "QuantizeLinear", "Relu", "Reshape", "Softmax", "MatMul", "Add"}
KINDS = ("blank", "full", "noise", "checkered")


def adversarial(kind: str, count: int, seed: int) -> NDArray[np.uint8]:
    """Images that are no digits: what a stranger may send."""
    shape = (count, 28, 28)
    if kind == "noise":
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if kind == "checkered":
        return np.asarray(np.indices(shape).sum(axis=0) % 2 * 255, np.uint8)
    return np.full(shape, 255 if kind == "full" else 0, np.uint8)


def engine(model: onnx.ModelProto) -> Engine:
    return Engine(model.SerializeToString(), provider="cpu")


def front_of(torch_form: TorchForm, weights: list[Any], **options: Any) -> onnx.ModelProto:
    return attach(
        torch_form(weights, [np.zeros(w.shape[1]) for w in weights], (784,), **options), Preprocessing(), "Softmax"
    )


@pytest.fixture(scope="module")
def variants(models: Path) -> dict[str, Engine]:
    version = Repository(models).open()
    return {name: load_engine(version, variant=name, provider="cpu") for name in version.manifest.variants}


# What the fixture's run became


def test_every_scale_is_static_and_the_first_dense_layer_takes_the_raw_pixels(models: Path) -> None:
    model = onnx.load(models / "digits" / "1" / "model.int8.onnx")
    assert {node.op_type for node in model.graph.node} <= STATIC
    constants = {constant.name: onnx.numpy_helper.to_array(constant) for constant in model.graph.initializer}
    first, second = [node for node in model.graph.node if node.op_type == "QGemm"]
    assert model.graph.node[0].op_type == "Reshape"
    assert model.graph.node[0].input[0] == "pixels"
    assert first.input[0] == model.graph.node[0].output[0]
    assert constants[first.input[1]] == np.float32(1 / 255)
    assert constants[first.input[2]] == 0
    for node in (first, second):
        assert constants[node.input[3]].dtype == np.int8
        assert np.abs(constants[node.input[3]]).max() <= 127
        assert not constants[node.input[5]].any()


def test_all_variants_have_one_signature_and_say_what_they_are(models: Path) -> None:
    for name, file in (("fp32", "model.onnx"), ("int8", "model.int8.onnx"), ("fp16", "model.fp16.onnx")):
        model = onnx.load(models / "digits" / "1" / file)
        (pixels,), (probabilities,) = model.graph.input, model.graph.output
        assert (pixels.name, pixels.type.tensor_type.elem_type) == ("pixels", onnx.TensorProto.UINT8)
        assert (probabilities.name, probabilities.type.tensor_type.elem_type) == (
            "probabilities",
            onnx.TensorProto.FLOAT,
        )
        assert [d.dim_param or d.dim_value for d in pixels.type.tensor_type.shape.dim] == ["batch", 28, 28]
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata["precision"] == name
        assert json.loads(metadata["labels"]) == list("0123456789")


def test_int8_and_fp16_are_near_to_fp32(variants: dict[str, Engine], test_digits: NDArray[np.uint8]) -> None:
    reference = variants["fp32"].run(test_digits)
    assert compare(variants["int8"].run(test_digits), reference).argmax_agreement >= 0.99
    half = compare(variants["fp16"].run(test_digits), reference)
    assert half.max_abs_diff <= 5e-3
    assert half.argmax_agreement >= 0.999


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_answer_never_depends_on_its_neighbours(
    variants: dict[str, Engine], test_digits: NDArray[np.uint8], data: st.DataObject
) -> None:
    """Bit for bit, in every variant: alone, and anywhere in a batch of adversarial images."""
    image = test_digits[data.draw(st.integers(0, 999))]
    kind = data.draw(st.sampled_from(KINDS))
    before, after = data.draw(st.integers(0, 80)), data.draw(st.integers(0, 80))
    neighbours = adversarial(kind, before + after, data.draw(st.integers(0, 2**32)))
    batch = np.concatenate([neighbours[:before], image[None], neighbours[before:]])
    for variant in variants.values():
        assert variant.run(batch)[before].tobytes() == variant.run(image[None])[0].tobytes()


# Other graphs


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "Identity"])
@pytest.mark.parametrize("layers", [(32,), (96, 64, 48), (24,) * 6])
def test_any_shape_and_activation_gets_an_int8_form_near_to_fp32(
    torch_form: TorchForm, data: Mnist, layers: tuple[int, ...], activation: str
) -> None:
    """Of random weights, whose probabilities are spread out, so that an error shows."""
    random = np.random.default_rng(len(layers))
    sizes = [784, *layers, 10]
    gain = 2.0 if activation in {"Relu", "LeakyRelu"} else 1.0
    weights = [random.normal(0, np.sqrt(gain / k), (k, m)) for k, m in pairwise(sizes)]
    model = front_of(torch_form, weights, activation=activation)
    quantized, made = calibrated(model, Preprocessing(), data.x_train[:1000], data.x_train[1000:1500])
    parity = compare(engine(quantized).run(data.x_test), engine(model).run(data.x_test))
    assert parity.mean_abs_diff < 4e-3
    assert parity.argmax_agreement > 0.9
    assert sum(node.op_type == "QGemm" for node in quantized.graph.node) == len(layers)
    assert "calibration on 1,000 training images" in made


def test_a_column_of_which_nothing_is_left_is_dropped_with_its_constant_part(
    torch_form: TorchForm, data: Mnist
) -> None:
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.05, (k, m)).astype(np.float32) for k, m in ((784, 40), (40, 20), (20, 10))]
    weights[0][:, 5:15] = 1e-6
    biases = [np.full(w.shape[1], 0.3, np.float32) for w in weights]
    model = attach(torch_form(weights, biases, (784,)), Preprocessing(), "Softmax")
    quantized, _ = calibrated(model, Preprocessing(), data.x_train[:500], data.x_train[500:1000])
    kept = [list(c.dims) for c in quantized.graph.initializer if c.data_type == onnx.TensorProto.INT8 and len(c.dims)]
    assert kept == [[784, 30], [30, 20]]
    parity = compare(engine(quantized).run(data.x_test), engine(model).run(data.x_test))
    assert parity.max_abs_diff < 2e-3


def test_the_front_of_a_normalized_model_goes_into_the_bias(torch_form: TorchForm, data: Mnist) -> None:
    random = np.random.default_rng(1)
    weights = [random.normal(0, 0.05, (k, m)) for k, m in ((784, 40), (40, 10))]
    preprocessing = Preprocessing(255, 0.1307, 0.3081)
    model = attach(torch_form(weights, [np.zeros(40), np.zeros(10)], (784,)), preprocessing, "Softmax")
    quantized, _ = calibrated(model, preprocessing, data.x_train[:500], data.x_train[500:1000])
    parity = compare(engine(quantized).run(data.x_test), engine(model).run(data.x_test))
    assert parity.max_abs_diff < 0.02


def graph(nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> onnx.ModelProto:
    """A graph from `x` to the logits `y`, behind a preprocessing subgraph."""
    core = helper.make_graph(
        nodes,
        "core",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(core, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return attach(model, Preprocessing(shape=(-1, *shape)), "Softmax")


def random_weights(*shapes: tuple[int, ...]) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return [random.normal(0, np.sqrt(2 / shape[0]), shape).astype(np.float32) for shape in shapes]


node = helper.make_node
V, W, U = random_weights((784, 40), (40, 40), (40, 10))
B, C, D = random_weights((40,), (40,), (10,))
GRAPHS = {
    "alpha, beta, transB": (
        [
            node("Gemm", ["x", "v", "b"], ["h"], alpha=0.5, beta=3.0, transB=1),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w", "c"], ["k"], alpha=-2.0),
            node("Relu", ["k"], ["s"]),
            node("Gemm", ["s", "u", "d"], ["y"], beta=0.1),
        ],
        {"v": V.T, "w": W, "u": U, "b": B, "c": C, "d": D},
        2,
    ),
    "biases of [1, n], of one number, and none": (
        [
            node("Gemm", ["x", "v", "b"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("MatMul", ["r", "w"], ["k0"]),
            node("Add", ["c", "k0"], ["k"]),
            node("Relu", ["k"], ["s"]),
            node("Gemm", ["s", "u", ""], ["y"]),
        ],
        {"v": V, "w": W, "u": U, "b": B[None], "c": np.array(0.3)},
        2,
    ),
    "a residual, so that two dense layers take the same rows": (
        [
            node("Gemm", ["x", "v", "b"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w", "c"], ["left"]),
            node("Gemm", ["r", "w", "b"], ["right"]),
            node("Add", ["left", "right"], ["s"]),
            node("Gemm", ["s", "u", "d"], ["y"]),
        ],
        {"v": V, "w": W, "u": U, "b": B, "c": C, "d": D},
        3,
    ),
    "a layer that is dead": (
        [
            node("Gemm", ["x", "v", "b"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w", "c"], ["k"]),
            node("Relu", ["k"], ["s"]),
            node("Gemm", ["s", "u", "d"], ["y"]),
        ],
        {"v": V * 0, "w": W, "u": U, "b": -np.abs(B), "c": C, "d": D},
        2,
    ),
    "one dense layer, with ReLU": (
        [node("Gemm", ["x", "v", "d"], ["h"]), node("Relu", ["h"], ["y"])],
        {"v": V[:, :10], "d": D},
        1,
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_whatever_a_dense_layer_looks_like_int8_is_near_to_fp32(data: Mnist, name: str) -> None:
    nodes, constants, count = GRAPHS[name]
    model = graph(nodes, constants, (784,))
    quantized, _ = calibrated(model, Preprocessing(), data.x_train[:1000], data.x_train[1000:1500])
    parity = compare(engine(quantized).run(data.x_test), engine(model).run(data.x_test))
    assert parity.mean_abs_diff < 4e-3
    assert parity.argmax_agreement > 0.95
    assert sum(made.op_type == "QGemm" for made in quantized.graph.node) == count


def test_a_convolution_is_no_dense_layer_of_the_pixels_and_says_so() -> None:
    nodes = [
        node("Conv", ["x", "k"], ["c"], kernel_shape=[5, 5]),
        node("Flatten", ["c"], ["f"]),
        node("Gemm", ["f", "u"], ["y"]),
    ]
    model = graph(nodes, {"k": np.ones((1, 1, 5, 5)), "u": np.ones((576, 10))}, (1, 28, 28))
    with pytest.raises(
        UnsupportedError, match="its first dense layer is fed by Conv, not by a preprocessing subgraph of ours"
    ):
        dense_layers(model)


def test_a_dense_layer_of_more_than_rows_is_left_as_it_is() -> None:
    nodes = [node("MatMul", ["x", "m"], ["h"]), node("Flatten", ["h"], ["f"]), node("Gemm", ["f", "u"], ["y"])]
    model = graph(nodes, {"m": np.ones((28, 2)), "u": np.ones((56, 10))}, (28, 28))
    with pytest.raises(UnsupportedError, match="its first dense layer is fed by MatMul"):
        dense_layers(model)


def test_weights_beyond_half_precision_are_said(torch_form: TorchForm) -> None:
    model = front_of(torch_form, [np.full((784, 32), 1e5), np.zeros((32, 10))])
    with pytest.raises(UnsupportedError, match="values beyond 65,504"):
        to_fp16(model)


# Calibration


def test_ranges_cover_what_they_are_told_to() -> None:
    values = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    values[0] = 50
    assert full_range(values) == (values.min(), 50)
    least, greatest = percentile_range(values, 99.9)
    assert 2.9 < greatest < 3.3
    assert -3.3 < least < -2.9
    least, greatest = entropy_range(values)
    assert 2.5 < greatest < 12
    assert -greatest <= least <= -2.5
    positive = np.maximum(values, 0)
    assert entropy_range(positive)[0] == 0
    assert full_range(-np.abs(values) - 1)[1] == 0
    assert entropy_range(np.zeros(10, np.float32)) == (0, 0)
