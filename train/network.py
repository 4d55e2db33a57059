"""The network: a multi-layer perceptron over flattened digits."""

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from digits.images.digit import CLASSES, PIXELS
from digits.model.tensorflow import keras
from digits.report.number_format import comma_list
from digits.storage.text import first_line
from digits.train.errors import RunError
from digits.train.objective import DigitAccuracy, divergence
from digits.train.settings import TrainSettings

COMPILED_FROM = 2000  # gradient steps
NOT_ACTIVATIONS = {"deserialize", "get", "serialize"}  # the other functions of keras.activations


def build(settings: TrainSettings, steps: int) -> Any:
    """The compiled model: float32 [n, 784] in 0 to 1, to probabilities float32 [n, 10].

    With the default layers 512 and 256 it has 401,920 + 131,328 + 2,570 = 535,818 parameters. One call of its training
    function runs a whole epoch of so many gradient `steps`.

    Raises:
        RunError: Keras knows no such activation or optimizer, or cannot build the network with it.
    """
    require_activation(settings.activation)
    optimizers = (name.lower() for name, value in vars(keras.optimizers).items() if inspect.isclass(value))
    _require_known("--optimizer", settings.optimizer, keras.optimizers.get, optimizers)
    try:
        model = keras.Sequential(
            [
                keras.Input((PIXELS,), name="pixels"),
                *_hidden(settings),
                keras.layers.Dense(CLASSES, activation="softmax", name="probabilities"),
            ],
            name="digits",
        )
        model.compile(
            optimizer=_optimizer(settings, steps),
            loss=divergence if settings.outliers else "categorical_crossentropy",
            metrics=[DigitAccuracy(name="accuracy") if settings.outliers else "accuracy"],
            steps_per_execution=steps,
            jit_compile=_is_compiled(settings, steps),
        )
        model(keras.ops.zeros((1, PIXELS)))  # fails here if the layers do not fit together
        _optimizer(settings, steps).build(model.trainable_variables)  # a copy: a built optimizer counts as parameters
    except Exception as error:  # layers and optimizers that need more than a name raise anything
        layers, activation = comma_list(settings.layers), settings.activation
        given = f"--layers {layers} --activation {activation} --optimizer {settings.optimizer}"
        raise RunError(f"{given}: {_in_a_line(error)}") from error
    return model


def require_activation(name: str, option: str = "--activation") -> None:
    """Raises RunError, with the known names, if Keras cannot make an activation from this one."""
    functions = {known for known, value in vars(keras.activations).items() if inspect.isfunction(value)}
    _require_known(option, name, _try_activation, functions - NOT_ACTIVATIONS)


def _is_compiled(settings: TrainSettings, steps: int) -> bool:
    """Whether XLA compiles the gradient step: only where there are enough steps to make up for it.

    With dropout there never are, since XLA is ten times as slow at random numbers on a CPU. Keras does not compile a
    deterministic training.
    """
    return steps * settings.epochs >= COMPILED_FROM and not settings.dropout and not settings.deterministic


def _hidden(settings: TrainSettings) -> list[Any]:
    layers = []
    for nodes in settings.layers:
        layers.append(keras.layers.Dense(nodes, activation=settings.activation))
        if settings.dropout:
            layers.append(keras.layers.Dropout(settings.dropout))
    return layers


def _optimizer(settings: TrainSettings, steps: int) -> Any:
    optimizer = keras.optimizers.get(settings.optimizer)
    rate = settings.learning_rate or float(optimizer.learning_rate)
    changes: dict[str, Any] = {"learning_rate": rate}
    if settings.schedule == "cosine":
        changes["learning_rate"] = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    if settings.weight_decay is not None:
        changes["weight_decay"] = settings.weight_decay
    return type(optimizer).from_config(optimizer.get_config() | changes)


def _try_activation(name: str) -> None:
    pair = keras.ops.zeros((1, 2))
    if keras.activations.get(name)(pair).shape != pair.shape:
        raise TypeError("it changes the number of nodes")


def _require_known(option: str, name: str, attempt: Callable[[str], object], names: Iterable[str]) -> None:
    if not (complaint := _complaint(name, attempt)):
        return
    known = sorted(one for one in names if not _complaint(one, attempt))
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RunError(f"{option} {name}: {complaint}; {hint}There are {', '.join(known)}")


def _complaint(name: str, attempt: Callable[[str], object]) -> str:
    """Why Keras cannot make something from its name alone, in a line; empty if it can."""
    try:
        attempt(name)
    except ValueError:
        return "Keras knows no such name"
    except Exception as error:  # noqa: BLE001 whatever one raises that needs more than its name
        return f"Keras cannot make it from its name ({_in_a_line(error)})"
    return ""


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
