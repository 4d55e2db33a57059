"""The command `digits`. Its sub-commands are imported only when they are called."""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env, Toml

from digits.cli.environment import drop_empty_variables, warn_of_unknown_tables, warn_of_unknown_variables
from digits.cli.recipe import alone_with_resume, from_recipe

# What to install for the commands that need more than the base.
EXTRAS = {
    "train": "train",
    "compare": "train",
    "sweep": "train",
    "export": "train,serve",
    "serve": "serve",
    "classify": "serve",
    "bench": "train",
    "demo": "train,serve",
}
# The first line is what `digits --help` lists.
COMMANDS = {
    "train": """Train the network on MNIST, into a run folder.

    ```
    digits train --out runs/first
    digits train --out runs/deeper --layers 512,256,128 --epochs 20 --data path/to/mnist.npz
    digits train --out runs/best --recipe best
    ```

    Leaves model.keras, its learning curves (history.json), its answers to the test images (predictions.npz), and
    report.html, which shows what the model has learnt and which digits it gets wrong.

    Ctrl-C keeps the last whole epoch: `digits train --resume runs/deeper` goes on from there as if nothing had been.
    """,
    "compare": """Compare finished runs: their numbers in a table, their curves in a figure, and both in words.

    ```
    digits train --out runs/10-epochs
    digits train --out runs/50-epochs --epochs 50
    digits compare runs/10-epochs runs/50-epochs
    ```

    Says for each run whether it overfits, from which epoch on and by how much; and for each against the first whether
    its test accuracy differs by more than chance explains.
    """,
    "sweep": """Try layers, nodes, activations and epochs, and see which of them matter.

    ```
    digits sweep --layers 1,2 --nodes 64,256 --activations relu,tanh --epochs 5,10
    digits sweep --sampler random --trials 30 --out runs/wide
    ```

    A network is judged by its accuracy on the validation split; the test images have no part in it. Ctrl-C keeps the
    trials that are done, and the same command again goes on with the others.
    """,
    "export": """Export a run to ONNX, prove that it answers as Keras does, and publish it.

    ```
    digits export runs/first --models models
    ```

    Every test image goes through both. If a probability differs by more than --max-abs-diff, or one digit differs,
    nothing is published and the worst image is named.
    """,
    "serve": """Serve the newest published model over gRPC.

    ```
    digits serve --models models --address 127.0.0.1:50051
    ```

    Prints one line when it is ready. SIGTERM or Ctrl-C drains: every accepted call is answered, then it exits with 0.
    """,
    "classify": """Tell which digit each picture shows: photos, scans, or MNIST images.

    ```
    digits classify photo.png
    digits classify scans/*.jpg --server localhost:50051 --json
    ```

    One digit a picture, dark on light or light on dark. Works in this process (with digits[serve] and --models), or
    over a server. A file that cannot be read is reported, the others are classified, and the exit code is 1.
    """,
    "bench training": """Time the training loop beside plain model.fit, in turn.

    ```
    digits bench training --data path/to/mnist.npz --repeats 3 --out training.json
    ```

    Prints the time and the test accuracy of each training, and the ratio of the times.
    """,
    "demo": """See the whole way on real digits: train, export, serve, classify.

    ```
    digits demo --out demo
    ```
    """,
}


app = App(
    name="digits",
    help="From raw handwritten digits to a served answer.",
    help_epilogue="Every option can stand in the environment as DIGITS_OPTION, or in digits.toml under its command.",
    version=version("digits"),
    config=[alone_with_resume, Env("DIGITS_", command=False), Toml("digits.toml"), from_recipe],
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
bench = App(name="bench", help="Measure, and write down what was measured.")
app.command(bench)
for command, text in COMMANDS.items():
    *group, name = command.split()
    (bench if group else app).command(f"digits.cli.{'.'.join(group) or name}:{name}", name=name, help=text)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it at its import
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    signal.signal(signal.SIGTERM, _terminate)
    drop_empty_variables()
    warn_of_unknown_variables()
    warn_of_unknown_tables(Path("digits.toml"), {command.split()[0] for command in COMMANDS})
    code = run()
    if code:
        _discard_output()
    sys.exit(code)


def run() -> int:
    """Runs the command line, and gives the exit code. What is the user's to mend is one line on stderr."""
    try:
        code: int = app(exit_on_error=False, print_error=False) or 0
        sys.stdout.flush()
    except CycloptsError as error:
        return complain(" ".join(str(error).split()), 2)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("digits."):
            raise
        return complain(missing(error.name, sys.argv[1]), 1)
    except BrokenPipeError:
        return 1  # who read it has seen enough
    except Exception as error:
        if not is_message(error):
            raise
        return complain(str(error), 1)
    return code


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """Ends the process as Ctrl-C would, so that nothing half written stays behind."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _discard_output() -> None:
    """What stdout cannot take any more (a closed pipe, a full disk) would be an error again at the very end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def missing(module: str, command: str) -> str:
    return f"digits {command} needs {module}, which is not installed; pip install 'digits[{EXTRAS[command]}]'"


def complain(message: str, code: int) -> int:
    print(f"digits: {message}", file=sys.stderr)
    return code


def is_message(error: Exception) -> bool:
    """Whether an error is one for the user: one of our own, or the system's. Any other is a fault of ours."""
    return isinstance(error, OSError) or type(error).__module__.startswith("digits.")


if __name__ == "__main__":
    main()
