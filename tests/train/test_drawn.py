"""Drawn images: styles of digits, other things that get a flat answer, and the temperature of the confidences."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from digits.images.digit import flatten, one_hot
from digits.model.tensorflow import keras
from digits.train.dataset import batches
from digits.train.drawn.digits import STYLES, drawn_digits
from digits.train.drawn.drawn import draw
from digits.train.drawn.fonts import HELD_OUT, LETTERS, OTHER, RICH, SYMBOLS, TRAINING, glyph, load
from digits.train.drawn.outliers import outliers
from digits.train.errors import RunError
from digits.train.objective import DigitAccuracy, divergence
from digits.train.settings import TrainSettings
from digits.train.temperature import fitted, fold
from digits.train.training import train

if TYPE_CHECKING:
    from pathlib import Path

    from digits.images.mnist import Mnist

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, as it saves
SETTINGS = TrainSettings(
    data="embedded", epochs=2, batch_size=256, styles=0.125, outliers=0.25, calibrate=True, distortion=1.0, layers=(32,)
)


def test_drawn_digits_repeat_by_their_seed_and_none_is_blank(data: Mnist) -> None:
    pixels, shown = drawn_digits(data.x_train, data.y_train, 300, np.random.default_rng(3))
    again, _ = drawn_digits(data.x_train, data.y_train, 300, np.random.default_rng(3))
    assert pixels.tobytes() == again.tobytes()
    assert set(shown) == set(range(10)) == set(STYLES)
    assert (pixels.max(axis=(1, 2)) > 200).all()


def test_outliers_repeat_by_their_seed_and_are_all_different(data: Mnist) -> None:
    pixels = outliers(data.x_train, 300, np.random.default_rng(3))
    assert pixels.tobytes() == outliers(data.x_train, 300, np.random.default_rng(3)).tobytes()
    assert len(np.unique(pixels, axis=0)) > 290


def test_every_font_of_the_training_has_what_is_drawn_of_it() -> None:
    """A glyph that a font lacks would be drawn as an empty box. Fonts for measurements are others."""
    assert not set(TRAINING) & set(HELD_OUT)
    for number, name in enumerate((*TRAINING, *HELD_OUT)):
        face = load(name)
        texts = LETTERS + "0123456789" + (SYMBOLS + OTHER if number < RICH else "")
        missing = glyph("\uffff", face).tobytes()
        lacking = [text for text in texts if not glyph(text, face).any() or glyph(text, face).tobytes() == missing]
        assert not lacking, name


def test_each_batch_has_its_share_of_drawn_images(data: Mnist) -> None:
    training = flatten(data.x_train), one_hot(data.y_train)
    pools = draw(*training, SETTINGS)
    assert [pool.taken for pool in pools] == [32, 64]
    images, answers = next(iter(batches(training, pools, SETTINGS, 0)))
    assert (images.shape, answers.shape) == ((352, 784), (352, 10))
    assert np.allclose(answers[-64:], 0.1)
    assert set(np.asarray(answers[:-64]).max(axis=1)) == {1}
    assert not draw(*training, TrainSettings())


def test_the_loss_of_a_perfect_answer_is_0_also_of_a_flat_one_and_the_accuracy_counts_digits() -> None:
    expected = np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0]], np.float32)
    assert np.allclose(divergence(expected, np.clip(expected, 1e-7, 1)), 0, atol=1e-5)
    accuracy = DigitAccuracy()
    accuracy.update_state(expected, np.array([[0.9, 0.1, 0], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3]], np.float32))
    assert float(accuracy.result()) == 0.5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_confidences_is_found_and_folded_into_the_last_layer(temperature: float) -> None:
    """Labels drawn from known probabilities; the model's logits are those times the temperature."""
    rng = np.random.default_rng(0)
    images, logits = rng.random((4000, 784), np.float32), rng.normal(0, 2, (784, 10)).astype(np.float32) / 8
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10, activation="softmax")])
    model.layers[-1].set_weights([logits, np.zeros(10, np.float32)])
    true = model.predict(images, verbose=0)
    labels = np.array([rng.choice(10, p=row / row.sum()) for row in true.astype(np.float64)], np.uint8)
    model.layers[-1].set_weights([logits * np.float32(temperature), np.zeros(10, np.float32)])
    found = fitted(model.predict(images, verbose=0), one_hot(labels))
    assert found == pytest.approx(temperature, rel=0.1)
    before = model.predict(images, verbose=0)
    fold(model, found)
    after = model.predict(images, verbose=0)
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert np.abs(after - true).mean() < 0.01


def test_a_run_with_drawn_images_is_a_plain_model_with_a_temperature(tmp_path: Path) -> None:
    """Keras reads the file without this package."""
    run = train(replace(SETTINGS, out=tmp_path / "run"))
    assert 0.25 < run.report["temperature"] < 4
    with zipfile.ZipFile(run.model) as file:
        compiled = json.loads(file.read("config.json"))["compile_config"]
    assert compiled["loss"] == "categorical_crossentropy"
    assert compiled["metrics"] == ["accuracy"]
    history = json.loads((run.folder / "history.json").read_text())
    assert history["loss"][-1] < history["loss"][0]
    assert 0.3 < history["accuracy"][-1] <= 1


def test_a_temperature_needs_validation_images(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match="--calibrate fits a temperature on validation images; give a --validation-split"
    ):
        train(replace(SETTINGS, out=tmp_path / "run", validation_split=0.0))
