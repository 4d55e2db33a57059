"""int8 and fp16: near to fp32, with static scales; an answer never depends on the other images in its batch."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from digits.export.calibration import calibrated, entropy_range, full_range, percentile_range
from digits.export.dense_layers import dense_layers
from digits.export.errors import UnsupportedError
from digits.export.fp16 import to_fp16
from digits.export.preprocessing import Preprocessing, attach
from digits.images.mnist import Mnist
from digits.model.engine import Engine, load_engine
from digits.model.parity import Parity, compare
from digits.model.repository import Repository

TorchForm = Callable[..., onnx.ModelProto]

STATIC = {"Gemm", "QGemm", "QuantizeLinear", "Relu", "Reshape", "Softmax", "MatMul", "Add", "ReduceMax", "Neg"}
KINDS = ("blank", "full", "noise", "checkered")


def adversarial(kind: str, count: int, seed: int) -> NDArray[np.uint8]:
    """Images that are not digits, as anyone may send them."""
    shape = (count, 28, 28)
    if kind == "noise":
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if kind == "checkered":
        return np.asarray(np.indices(shape).sum(axis=0) % 2 * 255, np.uint8)
    return np.full(shape, 255 if kind == "full" else 0, np.uint8)


def engine(model: onnx.ModelProto) -> Engine:
    return Engine(model.SerializeToString(), provider="cpu")


def quantized_and_parity(
    model: onnx.ModelProto, data: Mnist, preprocessing: Preprocessing | None = None
) -> tuple[onnx.ModelProto, Parity]:
    """Its int8 form, calibrated on few images, and how far that deviates on the test images."""
    quantized, made = calibrated(model, preprocessing or Preprocessing(), data.x_train[:600], data.x_train[600:900])
    assert made.startswith("int8 dense layers, the last one fp32; ")
    assert made.endswith(" calibration on 600 training images")
    return quantized, compare(engine(quantized).run(data.x_test), engine(model).run(data.x_test))


def operators(model: onnx.ModelProto, operator: str) -> int:
    return sum(node.op_type == operator for node in model.graph.node)


@pytest.fixture(scope="module")
def variants(models: Path) -> dict[str, Engine]:
    version = Repository(models).open()
    return {name: load_engine(version, variant=name, provider="cpu") for name in version.manifest.variants}


# The variants of a run


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_answer_never_depends_on_the_other_images_in_its_batch(
    variants: dict[str, Engine], test_digits: NDArray[np.uint8], data: st.DataObject
) -> None:
    """Bit for bit, in every variant: alone, and anywhere in a batch of adversarial images."""
    image = test_digits[data.draw(st.integers(0, 999))]
    kind = data.draw(st.sampled_from(KINDS))
    before, after = data.draw(st.integers(0, 80)), data.draw(st.integers(0, 80))
    neighbours = adversarial(kind, before + after, data.draw(st.integers(0, 2**32)))
    batch = np.concatenate([neighbours[:before], image[None], neighbours[before:]])
    for variant in variants.values():
        assert variant.answer(batch).columns[before].tobytes() == variant.answer(image[None]).columns[0].tobytes()


# Other graphs


@pytest.mark.parametrize(
    ("activation", "layers"),
    [
        ("Relu", (32,)),
        ("Relu", (24,) * 6),
        ("Tanh", (96, 64, 48)),
        ("Sigmoid", (32,)),
        ("LeakyRelu", (24,) * 6),
        ("Elu", (32,)),
        ("Identity", (96, 64, 48)),
    ],
)
def test_any_shape_and_activation_gets_an_int8_form_near_to_fp32(
    torch_form: TorchForm, data: Mnist, layers: tuple[int, ...], activation: str
) -> None:
    """Random weights spread the probabilities, so that an error shows."""
    random = np.random.default_rng(len(layers))
    gain = 2.0 if activation in {"Relu", "LeakyRelu"} else 1.0
    weights = [random.normal(0, np.sqrt(gain / k), (k, m)) for k, m in pairwise([784, *layers, 10])]
    core = torch_form(weights, [np.zeros(w.shape[1]) for w in weights], (784,), activation=activation)
    quantized, parity = quantized_and_parity(attach(core, Preprocessing(), "Softmax"), data)
    assert parity.mean_abs_diff < 4e-3
    assert parity.argmax_agreement > 0.9
    assert operators(quantized, "QGemm") == len(layers)


def test_a_column_that_is_0_in_int8_is_dropped_with_its_constant_part(torch_form: TorchForm, data: Mnist) -> None:
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.05, (k, m)).astype(np.float32) for k, m in ((784, 40), (40, 20), (20, 10))]
    weights[0][:, 5:15] = 1e-6
    biases = [np.full(w.shape[1], 0.3, np.float32) for w in weights]
    quantized, parity = quantized_and_parity(
        attach(torch_form(weights, biases, (784,)), Preprocessing(), "Softmax"), data
    )
    kept = [list(c.dims) for c in quantized.graph.initializer if c.data_type == onnx.TensorProto.INT8 and len(c.dims)]
    assert kept == [[784, 30], [30, 20]]
    assert parity.max_abs_diff < 2e-3


def graph(nodes: str, constants: dict[str, NDArray[Any]], shape: tuple[int, ...] = (784,)) -> onnx.ModelProto:
    """A graph from `x` to the logits `y`, in ONNX's text format, after a preprocessing subgraph."""
    given = f"float[batch,{','.join(map(str, shape))}] x"
    core = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> core ({given}) => (float[batch,10] y) {{ {nodes} }}'
    )
    for node in core.graph.node:
        node.input[:] = ["" if name == "none" else name for name in node.input]
    core.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    )
    return attach(core, Preprocessing(shape=(-1, *shape)), "Softmax")


def random_weights(*shapes: tuple[int, ...]) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return [random.normal(0, np.sqrt(2 / shape[0]), shape).astype(np.float32) for shape in shapes]


V, W, U = random_weights((784, 40), (40, 40), (40, 10))
B, C, D = random_weights((40,), (40,), (10,))
PLAIN = {"v": V, "w": W, "u": U, "b": B, "c": C, "d": D}
GRAPHS = {
    "alpha, beta, transB": (
        "h=Gemm<alpha=0.5,beta=3.0,transB=1>(x,v,b) r=Relu(h) k=Gemm<alpha=-2.0>(r,w,c) y=Gemm<beta=0.1>(k,u,d)",
        PLAIN | {"v": V.T},
        2,
    ),
    "biases of [1, n], of one number, and none": (
        "h = Gemm(x, v, b) r = Relu(h) k0 = MatMul(r, w) k = Add(c, k0) s = Relu(k) y = Gemm(s, u, none)",
        {"v": V, "w": W, "u": U, "b": B[None], "c": np.array(0.3)},
        2,
    ),
    "a residual, so that two dense layers take the same rows": (
        "h = Gemm(x, v, b) r = Relu(h) k = Gemm(r, w, c) l = Gemm(r, w, b) s = Add(k, l) y = Gemm(s, u, d)",
        PLAIN,
        3,
    ),
    "a layer whose outputs are all 0": (
        "h = Gemm(x, v, b) r = Relu(h) k = Gemm(r, w, c) s = Relu(k) y = Gemm(s, u, d)",
        PLAIN | {"v": V * 0, "b": -np.abs(B)},
        2,
    ),
    "one dense layer, with ReLU": ("h = Gemm(x, v, d) y = Relu(h)", {"v": V[:, :10], "d": D}, 1),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_any_form_of_a_dense_layer_gets_an_int8_form_near_to_fp32(data: Mnist, name: str) -> None:
    nodes, constants, count = GRAPHS[name]
    quantized, parity = quantized_and_parity(graph(nodes, constants), data)
    assert parity.mean_abs_diff < 4e-3
    assert parity.argmax_agreement > 0.95
    assert operators(quantized, "QGemm") == count


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "expected"),
    [
        (
            "c = Conv<kernel_shape=[5, 5]>(x, k) f = Flatten(c) y = Gemm(f, u)",
            {"k": np.ones((1, 1, 5, 5)), "u": np.ones((576, 10))},
            (1, 28, 28),
            "fed by Conv, not by a preprocessing subgraph of ours",
        ),
        (
            "h = MatMul(x, m) f = Flatten(h) y = Gemm(f, u)",  # a product of more than rows
            {"m": np.ones((28, 2)), "u": np.ones((56, 10))},
            (28, 28),
            "fed by MatMul",
        ),
    ],
)
def test_a_first_dense_layer_that_does_not_take_the_pixels_is_unsupported(
    nodes: str, constants: dict[str, NDArray[Any]], shape: tuple[int, ...], expected: str
) -> None:
    with pytest.raises(UnsupportedError, match=f"its first dense layer is {expected}"):
        dense_layers(graph(nodes, constants, shape))


def test_weights_beyond_half_precision_are_an_error(torch_form: TorchForm) -> None:
    core = torch_form([np.full((784, 32), 1e5), np.zeros((32, 10))], [np.zeros(32), np.zeros(10)], (784,))
    with pytest.raises(UnsupportedError, match="values beyond 65,504"):
        to_fp16(attach(core, Preprocessing(), "Softmax"))


# Calibration


def test_calibration_ranges_cover_their_share_of_the_values() -> None:
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
