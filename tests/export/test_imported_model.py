"""Imported ONNX models are published with digits' signature, answer as their file does, and are served."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.tree import DecisionTreeClassifier

from digits.client import Client
from digits.export.errors import ExportError
from digits.export.settings import ImportSettings
from digits.export.source import read_source
from digits.images.mnist import Mnist
from digits.model.engine import load_engine
from digits.model.errors import RepositoryError
from digits.model.limits import Limits
from digits.model.repository import ModelVersion
from digits.model.selection import select

Digits = Callable[..., subprocess.CompletedProcess[str]]
TorchForm = Callable[..., onnx.ModelProto]
Published = Callable[..., ModelVersion]

MEAN, STD = 0.1307, 0.3081


@pytest.fixture
def published(publish: Callable[..., ModelVersion]) -> Callable[..., ModelVersion]:
    """Writes a model to a file and publishes it."""

    def published(file: Path, model: onnx.ModelProto, variants: tuple[str, ...] = (), **options: Any) -> ModelVersion:
        onnx.save(model, file)
        return publish(file, variants, **options)

    return published


def test_scikit_learns_classifier_is_published_and_served_as_it_answers(
    digits: Digits, serving: Callable[..., Any], classifier: Any, data: Mnist, tmp_path: Path
) -> None:
    """As skl2onnx makes it: labels and a list of dicts of probabilities."""
    rows = data.x_test.reshape(-1, 784) / np.float32(255)
    (tmp_path / "mlp.onnx").write_bytes(to_onnx(classifier, rows[:1], target_opset=18).SerializeToString())
    completed = digits("export", tmp_path / "mlp.onnx", "--models", tmp_path / "models", "--data", "embedded")
    assert completed.returncode == 0, completed.stderr
    assert "acceptance checks: 1,000 test images against mlp.onnx" in completed.stdout
    assert "accuracy: 9" in completed.stdout
    assert "warning" not in completed.stdout
    with serving("--models", tmp_path / "models", "--precision", "fp32") as server, Client(server.address) as client:
        predictions = client.classify(data.x_test, include_probabilities=True)
    assert predictions.probabilities is not None
    assert np.abs(predictions.probabilities - classifier.predict_proba(rows)).max() < 1e-4
    assert np.array_equal(predictions.digits, classifier.predict(rows))


@pytest.mark.parametrize("shape", [(784,), (1, 28, 28), (28, 28, 1), (28, 28)])
def test_every_float_shape_gets_preprocessing(
    published: Published, torch_form: TorchForm, classifier: Any, data: Mnist, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """PyTorch's form with normalized pixels and logits, made of the same weights, answers as the original does."""
    first, *others = classifier.coefs_
    weights = [first * STD, *others]  # of (x - mean) / std
    biases = [classifier.intercepts_[0] + MEAN * first.sum(axis=0), *classifier.intercepts_[1:]]
    model = torch_form(weights, biases, shape)
    variants = ("int8", "fp16") if shape == (1, 28, 28) else ()
    version = published(tmp_path / "torch.onnx", model, variants, output="logits", mean=MEAN, std=STD)
    answers = load_engine(version, provider="cpu").run(data.x_test)
    expected = classifier.predict_proba(data.x_test.reshape(-1, 784) / 255)
    assert np.abs(answers - expected).max() < 1e-4
    assert version.manifest.variants.keys() == {"fp32", *variants}
    assert version.manifest.training == {}
    assert version.manifest.reference == "torch.onnx"


def test_pixels_of_0_to_255_and_logarithms_are_understood(
    published: Published, torch_form: TorchForm, data: Mnist, classifier: Any, tmp_path: Path
) -> None:
    first, *others = classifier.coefs_
    model = torch_form([first / 255, *others], classifier.intercepts_, (1, 28, 28), ending="LogSoftmax")
    version = published(tmp_path / "log.onnx", model, ("int8",), output="log-probabilities", input_scale=255)
    answers = select(version, precision="int8", provider="cpu").engine.run(data.x_test)
    expected = classifier.predict_proba(data.x_test.reshape(-1, 784) / 255)
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99


def test_a_model_of_digits_signature_gets_no_preprocessing(
    published: Published, models: Path, data: Mnist, tmp_path: Path
) -> None:
    """int8 begins with the pixels of a preprocessing subgraph that it knows, and is left out here with that reason."""
    file = tmp_path / "own.onnx"
    shutil.copy(models / "digits" / "1" / "model.onnx", file)
    version = published(file, onnx.load(file), ("int8",))
    again = load_engine(version, provider="cpu").run(data.x_test)
    assert again.tobytes() == load_engine(version, variant="fp32").run(data.x_test).tobytes()
    assert (
        version.manifest.left_out["int8"]
        == "its first dense layer is fed by Div, not by a preprocessing subgraph of ours"
    )
    assert version.manifest.variants["fp32"].max_abs_diff == 0


def test_a_model_that_reads_nothing_is_published_with_a_warning(
    digits: Digits, torch_form: TorchForm, classifier: Any, tmp_path: Path
) -> None:
    onnx.save(torch_form(classifier.coefs_, classifier.intercepts_, (784,)), tmp_path / "model.onnx")
    arguments = ("--data", "embedded", "--output", "logits", "--mean", 0.9, "--variants", "none")
    completed = digits("export", tmp_path / "model.onnx", "--models", tmp_path / "models", *arguments)
    assert completed.returncode == 0, completed.stderr
    assert "warning: that is below 90%; do --input-scale, --mean, --std and --output fit the model?" in completed.stdout


def test_a_failing_variant_is_left_out_and_the_others_are_published(
    published: Published, torch_form: TorchForm, classifier: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = torch_form(classifier.coefs_, classifier.intercepts_, (784,))
    limits = Limits(fp16_max_abs_diff=0, int8_agreement=99, int8_accuracy_loss=1)
    version = published(tmp_path / "model.onnx", model, ("int8", "fp16"), limits=limits, output="logits")
    assert version.manifest.variants.keys() == {"fp32", "int8"}
    assert version.manifest.left_out["fp16"].startswith("max |dp| ")
    assert f"left out: fp16, {version.manifest.left_out['fp16']}" in capsys.readouterr().out
    assert not (version.folder / "model.fp16.onnx").exists()
    with pytest.raises(RepositoryError, match=r"no variant 'fp16' \(max \|dp\| .* is worst\); it has fp32, int8"):
        version.file("fp16")


def test_a_tree_is_published_without_int8(published: Published, data: Mnist, tmp_path: Path) -> None:
    """OpenVINO, if it is installed, does not support its operator: then there is no time to compare with."""
    tree = DecisionTreeClassifier(max_depth=8, random_state=0).fit(data.x_train.reshape(-1, 784) / 255.0, data.y_train)
    model = to_onnx(tree, data.x_test[:1].reshape(1, 784).astype(np.float32), target_opset=18)
    version = published(tmp_path / "tree.onnx", model, ("int8", "fp16"))
    assert version.manifest.variants.keys() == {"fp32"}
    assert version.manifest.left_out["int8"] == "it has no dense layer with constant weights"


def test_options_without_effect_and_files_that_are_not_models_are_refused(
    models: Path, run_folder: Path, tmp_path: Path
) -> None:
    scaled = ImportSettings(mean=0.5)
    with pytest.raises(ExportError, match="takes uint8 pixels as they are; --input-scale, --mean and --std are for"):
        read_source(models / "digits" / "1" / "model.onnx", None, scaled)
    with pytest.raises(ExportError, match="is a run; --input-scale, --mean, --std and --output are for imported"):
        read_source(run_folder, None, scaled)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ExportError, match=r"text\.onnx: cannot be read as an ONNX model \([^\n]*\)$"):
        read_source(tmp_path / "text.onnx", None, ImportSettings())
    with pytest.raises(ExportError, match="there is no such run folder, ONNX file, Keras file or SavedModel folder"):
        read_source(tmp_path / "nothing", None, ImportSettings())


def fixed_batch(model: onnx.ModelProto) -> None:
    """As an export without a dynamic axis: Reshape to [1, 784] instead of Flatten."""
    model.graph.node[0].CopyFrom(helper.make_node("Reshape", ["image", "one"], ["rows"]))
    model.graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [2], [1, 784]))


def resized(kind: str, dimension: int, size: int) -> Callable[[onnx.ModelProto], object]:
    """Changes one dimension of the `input` or `output`."""
    return lambda model: setattr(getattr(model.graph, kind)[0].type.tensor_type.shape.dim[dimension], "dim_value", size)


@pytest.mark.parametrize(
    ("change", "ending", "output", "expected"),
    [
        (resized("input", 2, 32), None, None, "its input is"),
        (resized("output", 1, 7), None, None, "say --output-"),
        (lambda m: setattr(m.opset_import[0], "version", 9), None, None, "opset 9; convert it to 13 or later"),
        (fixed_batch, None, None, "cannot be run on batches of any size"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Flaten"), None, None, "cannot be read as an ONNX model"),
        (None, None, "probabilities", "cannot be probabilities: those of test image 0 sum to .*; say --output"),
        (None, "Softmax", "logits", "its output is probabilities already, not logits; say --output probabilities"),
        (None, "Softmax", "log-probabilities", "cannot be log-probabilities: those of test image 0 sum to"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_in_one_line(
    published: Published,
    torch_form: TorchForm,
    classifier: Any,
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], object] | None,
    ending: str | None,
    output: str | None,
    expected: str,
) -> None:
    """If its output is not what the settings say, its digits may be right and its probabilities wrong."""
    model = torch_form(classifier.coefs_, classifier.intercepts_, (1, 28, 28), ending=ending)
    if change is not None:
        change(model)
    with pytest.raises(ExportError, match=expected) as error:
        published(tmp_path / "model.onnx", model, output=output)
    assert str(error.value).startswith(f"{tmp_path}/model.onnx: ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "models").exists()
