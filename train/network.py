"""The network: a multi-layer perceptron over flattened digits."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from digits.images.digit import CLASSES, PIXELS
from digits.model.tensorflow import keras
from digits.report.number_format import comma_list
from digits.train.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from digits.train.settings import TrainSettings

COMPILED_FROM = 2000  # gradient steps
NOT_ACTIVATIONS = {"deserialize", "get", "serialize"}  # the other functions of keras.activations


def build(settings: TrainSettings, steps: int) -> Any:
    """The compiled model: float32 [n, 784] in 0 to 1, to probabilities float32 [n, 10].

    With the default layers 512 and 256 it has 401,920 + 131,328 + 2,570 = 535,818 parameters. One call of its training
    function does a whole epoch.

    Args:
        settings: The hyperparameters.
        steps: Gradient steps in an epoch.

    Raises:
        RunError: Keras knows no such activation or optimizer, or cannot build the network with it.
    """
    require_activation(settings.activation)
    _require_known("--optimizer", settings.optimizer, keras.optimizers.get, keras.optimizers)
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
            loss="categorical_crossentropy",
            metrics=["accuracy"],
            steps_per_execution=steps,
            jit_compile=_is_compiled(settings, steps),
        )
        model(keras.ops.zeros((1, PIXELS)))  # what does not fit together says so here
        _optimizer(settings, steps).build(model.trainable_variables)  # a twin: once built, it counts as parameters
    except Exception as error:  # whatever a layer or an optimizer raises that cannot do with its name alone
        layers, activation = comma_list(settings.layers), settings.activation
        given = f"--layers {layers} --activation {activation} --optimizer {settings.optimizer}"
        raise RunError(f"{given}: {_in_a_line(error)}") from error
    return model


def _is_compiled(settings: TrainSettings, steps: int) -> bool:
    """Whether XLA compiles the gradient step: where there are enough of them to pay for it.

    It does not pay with dropout, since XLA is ten times as slow at random numbers on a CPU; and Keras does not do it
    for a deterministic training.
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
    changes: dict[str, Any] = {}
    if settings.weight_decay is not None:
        changes["weight_decay"] = settings.weight_decay
    rate = settings.learning_rate or float(optimizer.learning_rate)
    if settings.schedule == "cosine":
        changes["learning_rate"] = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    else:
        changes["learning_rate"] = rate
    return type(optimizer).from_config(optimizer.get_config() | changes)


def require_activation(name: str, option: str = "--activation") -> None:
    """Raises RunError, with the names there are, if Keras cannot make an activation from this one."""
    _require_known(option, name, _try_activation, keras.activations)


def _try_activation(name: str) -> None:
    pair = keras.ops.zeros((1, 2))
    if keras.activations.get(name)(pair).shape != pair.shape:
        raise TypeError("it changes the number of nodes")


def _require_known(option: str, name: str, attempt: Callable[[str], object], module: ModuleType) -> None:
    if (complaint := _complaint(name, attempt)) is None:
        return
    names = [known for known in _names(module) if _complaint(known, attempt) is None]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RunError(f"{option} {name}: {complaint}; {hint}There are {', '.join(names)}")


def _complaint(name: str, attempt: Callable[[str], object]) -> str | None:
    """What speaks against a name, in a line; None if it can be had from its name alone."""
    try:
        attempt(name)
    except ValueError:
        return "Keras knows no such name"
    except Exception as error:  # noqa: BLE001 whatever one raises that needs more than its name
        return f"Keras cannot make it from its name ({_in_a_line(error)})"
    return None


def _names(module: ModuleType) -> list[str]:
    """The names by which Keras gets what the module offers: its functions, or its classes in lower case."""
    offered = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    functions = {name for name, value in offered.items() if inspect.isfunction(value)} - NOT_ACTIVATIONS
    return sorted(functions or {name.lower() for name, value in offered.items() if inspect.isclass(value)})


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
