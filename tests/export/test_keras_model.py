"""Imported Keras models are published with digits' signature, and answer as Keras does."""

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from digits.cli.verify import verify
from digits.export.errors import ExportError
from digits.export.keras_model import predict, to_onnx
from digits.export.preprocessing import Preprocessing, attach
from digits.export.settings import ImportSettings, VerifySettings
from digits.export.source import read_model, read_source
from digits.images.digit import flatten
from digits.images.mnist import Mnist
from digits.model.engine import Engine, load_engine
from digits.model.repository import ModelVersion
from digits.model.tensorflow import keras, tf
from digits.storage.checksums import file_sha256

Capture = pytest.CaptureFixture[str]
Digits = Callable[..., subprocess.CompletedProcess[str]]

layers = keras.layers


@pytest.fixture(scope="module")
def dense(data: Mnist) -> Any:
    """784 - 32 ReLU - 10 logits on pixels of 0 to 1, trained a little."""
    model = keras.Sequential([keras.Input((784,)), layers.Dense(32, "relu"), layers.Dense(10)])
    return fitted(model, flatten(data.x_train), data, epochs=5)


@pytest.fixture(scope="module")
def convnet(data: Mnist) -> Any:
    """Keras's example "Simple MNIST convnet", smaller, with its scaling inside and a BatchNormalization."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(3),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    return fitted(model, data.x_train[..., None].astype(np.float32), data, epochs=1)


def fitted(model: Any, images: NDArray[np.float32], data: Mnist, epochs: int) -> Any:
    keras.utils.set_random_seed(0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, data.y_train, batch_size=64, epochs=epochs, verbose=0)
    return model


def saved(model: Any, path: Path) -> Path:
    with warnings.catch_warnings(action="ignore"):  # NumPy's of TensorFlow, Keras's of .h5
        if path.suffix:
            model.save(path)
        else:
            model.export(path, verbose=False)
    return path


@pytest.mark.parametrize(
    ("name", "shape", "output", "scale"),
    [
        ("rows.keras", (784,), "logits", 1),
        ("images.h5", (28, 28), "probabilities", 1),
        ("channel", (28, 28, 1), "logits", 255),
    ],
)
def test_every_form_is_published_and_answers_as_keras_does(
    publish: Callable[..., ModelVersion],
    dense: Any,
    data: Mnist,
    tmp_path: Path,
    capsys: Capture,
    name: str,
    shape: tuple[int, ...],
    output: str,
    scale: Literal[1, 255],
) -> None:
    """The scaling of 0 to 255 is in the first weights, so that int8 finds a chain of dense layers."""
    logits = dense.predict(flatten(data.x_test), verbose=0)
    inner = keras.models.clone_model(dense)
    inner.set_weights([dense.get_weights()[0] / scale, *dense.get_weights()[1:]])
    given = keras.Input(shape)
    answer = inner(given if shape == (784,) else layers.Flatten()(given))
    model = keras.Model(given, layers.Softmax()(answer) if output == "probabilities" else answer)
    variants = ("int8", "fp16") if name == "channel" else ()
    version = publish(saved(model, tmp_path / name), variants, input_scale=scale)
    answers = load_engine(version, provider="cpu").run(data.x_test)
    assert np.abs(answers - np.asarray(tf.nn.softmax(logits))).max() < 1e-4
    assert version.manifest.variants.keys() == {"fp32", *variants}
    assert (version.manifest.reference, version.manifest.training) == (name, {})
    again = read_source(tmp_path / name, "embedded", ImportSettings(input_scale=scale))
    assert version.manifest.reference_sha256 == again.sha256
    takes = f"model: {name} takes float [N,{','.join(map(str, shape))}] of 0 to {scale} and gives {output}"
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(takes)][:1]
    assert said.endswith("; Softmax is appended") == (output == "logits")


def test_a_convnet_is_published_without_int8(digits: Digits, convnet: Any, data: Mnist, tmp_path: Path) -> None:
    file = saved(convnet, tmp_path / "cnn.keras")
    arguments = ("--models", tmp_path / "models", "--data", "embedded", "--input-scale", 255)
    completed = digits("export", file, *arguments)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "acceptance checks: 1,000 test images against cnn.keras" in completed.stdout
    assert "left out: int8, its first dense layer is fed by " in completed.stdout
    right = convnet.predict(data.x_test[..., None], verbose=0).argmax(axis=1) == data.y_test
    assert f"\naccuracy: {right.mean():.2%} of 1,000 test images\n" in completed.stdout


def test_a_convnet_gives_the_same_onnx_bytes_again(convnet: Any, tmp_path: Path) -> None:
    """tf2onnx goes on counting in the names that it makes up."""
    file, settings = saved(convnet, tmp_path / "cnn.keras"), ImportSettings(input_scale=255)
    first, second = (read_model(file, settings).to_onnx().SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_a_convnet_gives_the_same_onnx_bytes_in_every_process(digits: Digits, convnet: Any, tmp_path: Path) -> None:
    """tf2onnx orders by hashes what has no order."""
    file = saved(convnet, tmp_path / "cnn.keras")
    for seed in "01":
        arguments = ("--models", tmp_path / seed, "--data", "embedded", "--input-scale", 255, "--variants", "none")
        completed = digits("export", file, *arguments, env={"PYTHONHASHSEED": seed})
        assert (completed.returncode, completed.stderr) == (0, "")
    first, second = (file_sha256(tmp_path / seed / "digits" / "1" / "model.onnx") for seed in "01")
    assert first == second


def test_the_model_in_a_run_folder_is_the_run(run_folder: Path) -> None:
    by_file, by_folder = (
        read_source(path, None, ImportSettings()) for path in (run_folder / "model.keras", run_folder)
    )
    assert by_file.reference == "Keras"
    assert (by_file.training, by_file.sha256) == (by_folder.training, by_folder.sha256)
    assert by_file.fp32.SerializeToString() == by_folder.fp32.SerializeToString()
    with pytest.raises(ExportError, match="is a run; --input-scale, --mean, --std and --output are for imported"):
        read_source(run_folder / "model.keras", None, ImportSettings(output="logits"))


@pytest.mark.parametrize("form", ["folder", "model.keras", "saved", "model.h5", "model.onnx"])
def test_a_version_is_verified_against_every_form(
    models: Path, run_folder: Path, tmp_path: Path, capsys: Capture, form: str
) -> None:
    version = models / "digits" / "1"
    against = {"folder": run_folder, "model.keras": run_folder / form, "model.onnx": version / form}.get(form)
    against = against or saved(keras.models.load_model(run_folder / "model.keras"), tmp_path / form)
    assert verify(str(version), VerifySettings(against=against)) == 0
    assert capsys.readouterr().out.startswith(f"acceptance checks: 256 golden images against {against}; ")


def test_a_version_fails_against_another_model_and_settings_without_effect_are_refused(
    dense: Any, models: Path, run_folder: Path, tmp_path: Path
) -> None:
    version, scaled = str(models / "digits" / "1"), ImportSettings(input_scale=255)
    assert verify(version, VerifySettings(against=saved(dense, tmp_path / "dense.keras"))) == 1
    with pytest.raises(ExportError, match="are for the model of --against; say which"):
        verify(version, VerifySettings(), imported=scaled)
    with pytest.raises(ExportError, match="is a run; --input-scale, --mean, --std and --output are for imported"):
        verify(version, VerifySettings(against=run_folder), imported=scaled)


class Doubled(keras.layers.Layer):  # type: ignore[misc] # keras is untyped
    def call(self, rows: Any) -> Any:
        return rows * 2


def functional(shape: tuple[int, ...], *outputs: int, before: Any = None) -> Any:
    given = keras.Input(shape)
    rows = layers.Flatten()(given if before is None else before(given))
    return keras.Model(given, [layers.Dense(count, "softmax", name=f"of_{count}")(rows) for count in outputs])


def own_code(layer: Any) -> Any:
    return lambda: functional((784,), 10, before=layer())


def of_two_inputs() -> Any:
    given = [keras.Input((392,)), keras.Input((392,))]
    return keras.Model(given, layers.Dense(10)(layers.Concatenate()(given)))


def sigmoid() -> Any:
    return keras.Sequential([keras.Input((784,)), layers.Dense(10, "sigmoid")])


NOT_SERVED = {
    "seven.keras": (lambda: functional((784,), 7), r"its outputs are of_7 float \[\w+,7\]; say --output-name with"),
    "large.h5": (lambda: functional((32, 32), 10), r"its input is image float \[\w+,32,32\]; expected one of uint8"),
    "colour": (lambda: functional((28, 28, 3), 10), r"its input is image float \[\w+,28,28,3\]; expected one of"),
    "inputs.keras": (of_two_inputs, r"its input is \(None, 392\), \(None, 392\); expected one of 28 x 28 pixels"),
    "lambda.keras": (own_code(lambda: layers.Lambda(lambda x: x)), "is a Python lambda.*FOLDER"),
    "lambda.h5": (own_code(lambda: layers.Lambda(lambda x: x)), "is a Python lambda.*FOLDER"),
    "own.keras": (own_code(Doubled), "Could not locate class 'Doubled'.*FOLDER"),
    "own.h5": (own_code(Doubled), "Unknown layer: 'Doubled'.*FOLDER"),
    "unbuilt.keras": (lambda: keras.Sequential([layers.Dense(10)]), "its input is not known, since it was saved"),
    "sigmoid.keras": (sigmoid, "its output cannot be probabilities: those of test image 0 sum to"),
}


@pytest.mark.parametrize("name", NOT_SERVED)
def test_a_model_that_cannot_be_served_is_refused_in_one_line(data: Mnist, tmp_path: Path, name: str) -> None:
    make, expected = NOT_SERVED[name]
    path = saved(make(), tmp_path / name)
    with pytest.raises(ExportError, match=expected) as error:
        read_model(path, ImportSettings()).predict(data.x_test[:10])
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["damaged.keras", "damaged.h5", "damaged/saved_model.pb"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no model")
    with pytest.raises(ExportError, match="cannot be read as a ") as error:
        read_model(tmp_path / Path(name).parts[0], ImportSettings())
    assert "\n" not in str(error.value)


def test_one_of_several_outputs_is_named(data: Mnist, tmp_path: Path) -> None:
    file = saved(functional((784,), 10, 3), tmp_path / "two.keras")
    for settings in (ImportSettings(), ImportSettings(output_name="of_10")):  # only one of them has ten columns
        assert read_model(file, settings).predict(data.x_test[:5]).shape == (5, 10)


def test_own_layers_are_exported_from_a_saved_model(data: Mnist, tmp_path: Path) -> None:
    """It holds their code as a graph, as the error for a .keras file says."""
    model = functional((784,), 10, before=Doubled())
    found = read_model(saved(model, tmp_path / "own"), ImportSettings()).predict(data.x_test[:50])
    assert np.abs(found - np.asarray(model(flatten(data.x_test[:50]))).reshape(-1, 10)).max() < 1e-5


@pytest.mark.parametrize("activation", ["gelu", "celu", "silu"])
def test_activations_without_an_onnx_operator_are_made_of_others(data: Mnist, activation: str) -> None:
    hidden = [layers.Dense(nodes, activation) for nodes in (48, 24)]
    model = keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10, "softmax")])
    model.set_weights([weights * 3 for weights in model.get_weights()])
    engine = Engine(attach(to_onnx(model), Preprocessing()).SerializeToString(), provider="cpu")
    assert np.abs(engine.run(data.x_test) - predict(model, data.x_test)).max() < 1e-5
