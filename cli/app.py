"""The command `digits`. Its sub-commands are imported only when they are called."""

import sys
from _signal import (  # type: ignore[import-not-found] # of C, and imported by the interpreter itself, unlike `signal`
    SIG_BLOCK,
    SIG_SETMASK,
    SIGINT,
    SIGTERM,
    pthread_sigmask,
)

try:
    MASK = pthread_sigmask(SIG_BLOCK, {SIGINT, SIGTERM})  # signals wait until there is something that takes them
    from digits.cli import streams
    from digits.cli.interruption import INTERRUPTION

    if __name__ == "__main__" or sys.argv[0].endswith("digits"):  # and not where a test imports this
        INTERRUPTION.begin()
finally:
    pthread_sigmask(SIG_SETMASK, MASK)

import contextlib
import os
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Env, Toml

from digits.cli.environment import drop_empty_variables, warn_of_unknown_tables, warn_of_unknown_variables
from digits.cli.errors import explained
from digits.cli.recipe import alone_with_resume, from_recipe
from digits.storage.text import one_line

CTRL_C = 128 + SIGINT  # an exit code
# What to install for the commands that need more than the base.
EXTRAS = {
    "train": "train",
    "compare": "train",
    "sweep": "train",
    "export": "train,serve",
    "verify": "train,serve",
    "models": "train",
    "serve": "serve",
    "classify": "serve",
    "score": "serve",
    "bench": "train,serve,bench",
    "demo": "train,serve",
}
MODULE_EXTRAS = {"pyarrow": "parquet", "ray": "ray"}  # of modules that not all of a command needs
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
    "export": """Export a model to ONNX, prove that it answers as it did, and publish it.

    ```
    digits export runs/first --models models
    digits export torch.onnx --output logits --mean 0.1307 --std 0.3081
    digits export cnn.keras --input-scale 255
    ```

    Takes a run, or imports a model: an ONNX file, a Keras file (.keras, .h5) or a SavedModel folder. Makes fp32,
    int8 (several times as fast on the CPU) and fp16 (for CUDA). Every test image goes through each of them and through
    the original. A variant that is too far off is left out and its worst image named; without fp32 nothing is
    published. Scales of int8 are chosen by training images alone.
    """,
    "verify": """Run the acceptance checks again, on this host: does a published model still answer as it did?

    ```
    digits verify 3 --models models
    digits verify models/digits/3 --test-data path/to/mnist.npz
    digits verify models/digits/3/model.int8.onnx --against runs/first/model.keras
    ```

    Checks the checksums of all files, runs every variant on the golden set, or on a whole test set, and times it. On
    the golden set, whose images are the hardest, int8 is compared with its own recorded answers. Exit code 1 if
    anything failed.
    """,
    "models list": """List the versions of a repository.

    ```
    digits models list --models models
    ```
    """,
    "models show": """Show a version's evidence: where it comes from, how it was tested, how fast it is.

    ```
    digits models show 3 --models models --figure graphs.png
    ```
    """,
    "models diff": """Show in what two versions differ.

    ```
    digits models diff 2 3 --models models
    ```
    """,
    "models rollback": """Make an earlier version the newest again.

    ```
    digits models rollback --models models
    digits models rollback 2 --models models
    ```

    The versions above it are withdrawn, each by one rename to .withdrawn-N; a number is not used twice. A server that
    runs keeps its version until it is started again.
    """,
    "models prune": """Remove old versions, and withdrawn ones below the newest.

    ```
    digits models prune --keep 3 --models models
    ```

    The newest version is never removed.
    """,
    "serve": """Serve a model over gRPC: the newest of a repository, or the one that comes with digits.

    ```
    digits serve
    digits serve --models models --address 127.0.0.1:50051
    ```

    Prints one line when it is ready. SIGTERM or Ctrl-C drains: every accepted call is answered, then it exits with 0.
    """,
    "classify": """Tell which digit each picture shows: photos, scans, or MNIST images.

    ```
    digits classify photo.png --show
    digits classify scans/*.jpg --server localhost:50051 --json
    ```

    One digit a picture, dark on light or light on dark. Works in this process (with digits-serving[serve]), by the
    model that comes with digits or by the newest of --models; or over a server. A file that cannot be read is reported,
    the others are classified, and the exit code is 1.
    """,
    "score": """Score folders of pictures, archives and arrays into a table, in their order, none lost.

    ```
    digits score scans --out table.csv
    digits score scans 'more/**/*.png' old.zip mnist.npz/x_test --out table.parquet --labels from-folder
    find scans -name '*.jpg' -print0 | digits score - --out table.jsonl --server localhost:50051
    ```

    One row a picture: path, digit, confidence, status, error. A picture that cannot be read, is blank, unclear or shows
    several digits is a row that says so, and nothing stops. Files in a folder or an archive whose names are not
    pictures', hidden files, and arrays that are not images are skipped; the summary counts them by their reasons. With
    --strict the exit code is 1 if a row has no digit or anything is skipped. Ctrl-C or a crash
    keeps what is done, in table.csv.journal beside the table, and the same command goes on from there. Uses all cores,
    by the model that comes with digits or by the newest of --models; or a server.
    """,
    "bench parity": """Compare every variant with Keras, image by image, in this process and through the server.

    ```
    digits bench parity --data path/to/mnist.npz
    digits bench parity --models models --quick
    digits bench parity runs/first --models models
    ```

    All test images, and synthetic extremes: all 0, all 255, noise, one pixel. Exit code 1 if a variant disagrees by
    more than its version was published with, if an answer depends on its batch, or if the server's answer has other
    bytes than the process's own. A variant that a server on this host would reject, such as int8 on some older CPUs, is
    compared and marked, and is no failure; fp32 always has to agree.
    """,
    "bench engine": """Time the model by batch size and threads, compared with Keras, TensorFlow and OpenVINO.

    ```
    digits bench engine
    digits bench engine --quick --batches 1,64
    ```

    Everything is timed in turn, one run after the other, from pixels to probabilities. The roofline shows what the
    measured peaks of this machine (float32 matrix multiplication, cache, memory) allow. Two figures are written next to
    the JSON. A variant that no server would run on this host is timed too, and marked.
    """,
    "bench server": """Load a server: closed loop, open loop, mixed sizes, and the highest rate that meets an SLO.

    ```
    digits bench server
    digits bench server --server localhost:50051 --rates 500,1000 --slo 5
    ```

    Without --server, the bundled model is served over both transports. An echo is measured too: the native frontend
    without a model, sending each message back, the upper bound for every server and every load generator here. In the
    open loop calls are sent at random times whether or not others wait, and latencies count from then, so that a stall
    shows.
    """,
    "bench compare": """Tell whether one build is slower than another: a guard for CI.

    ```
    digits bench compare digits-0.1.0.whl .
    digits bench compare old/server.json new/server.json
    ```

    A build is a wheel, a checkout, or a folder that contains digits/; nothing is installed, and both run with the
    libraries of this Python. They are measured in turn, pair after pair, so that whatever else the machine does affects
    both. Exit code 1 if B answers fewer calls a second, or takes more processor time for a call, by more than --limit
    and beyond the noise of the pairs (and, as everywhere, if they cannot be measured: the last line says which). Two
    files, from different times, are compared by their ratios to the echo, which is an indication and never fails.
    """,
    "bench report": """Make tables, figures and one HTML page from the JSON files of the benchmarks.

    ```
    digits bench report
    digits bench report --results benchmarks/results --readme benchmarks/README.md
    ```

    Reads NAME.json of every benchmark in the folder, or what was kept in NAME.partial.json; writes the figures,
    report.html, which contains everything, and README.md.
    """,
    "bench export": """Time the variants of exported runs, Keras and OpenVINO, in turn.

    ```
    digits bench export runs/first runs/best --out export.json
    ```

    Exports each run into a temporary folder. OpenVINO is measured where it is installed (digits-serving[bench]).
    """,
    "bench score": """Time the scoring of PNG files and only decoding them, in turn; measure its memory.

    ```
    digits bench score --data path/to/mnist.npz --out score.json
    digits bench score --pictures 10000 --rows 100000 --rounds 1
    ```

    Also measures the time of `import digits.client` compared with `import numpy, grpc`. Scores with the bundled model.
    """,
    "bench peers": """Compare the server with an echo, a plain grpc.aio server, and model servers of other projects.

    ```
    digits bench peers
    digits bench peers --servers kserve,mosec --rounds 1 --seconds 1
    digits bench peers --servers ours,echo --rounds 1 --seconds 1 --memory-requests 0 --overload-seconds 0
    ```

    Triton, KServe, MLServer, Ray Serve, mosec, LitServe and BentoML serve the same model file, one after the other,
    each in turn with digits. Each is installed into --cache, a minute and 0.2 to 0.6 GB; if one cannot be installed,
    the report says why. The load comes from h2load (Debian: nghttp2-client). Twenty minutes with all of them; Ctrl-C
    keeps what is measured. Says whether digits' server is as fast as required.
    """,
    "bench training": """Time the training loop and plain model.fit, in turn.

    ```
    digits bench training --data path/to/mnist.npz --repeats 3 --out training.json
    ```

    Prints the time and the test accuracy of each training, and the ratio of the times.
    """,
    "demo": """See the whole way on real digits: train, export, serve, classify, score.

    ```
    digits demo --out demo
    ```
    """,
}


app = App(
    name="digits",
    help="From raw handwritten digits to a served answer.",
    help_epilogue="Every option can stand in the environment as DIGITS_OPTION, or in digits.toml under its command.",
    version=version("digits-serving"),
    config=[alone_with_resume, Env("DIGITS_", command=False), Toml("digits.toml"), from_recipe],
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
GROUPS = {
    "bench": App(name="bench", help="Measure, and write down what was measured."),
    "models": App(name="models", help="List, show, compare, roll back and prune published versions."),
}
for group in GROUPS.values():
    app.command(group)
for command, text in COMMANDS.items():
    module, _, name = command.rpartition(" ")
    function = "list_" if name == "list" else name
    (GROUPS[module] if module else app).command(f"digits.cli.{module or name}:{function}", name=name, help=text)


def main() -> None:
    INTERRUPTION.begin()
    streams.open_closed()
    streams.take_any_character()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it at its import
    code = run()
    streams.discard_output()
    sys.exit(code)


def run() -> int:
    """Runs the command line, and gives the exit code. What is the user's to fix is one line on stderr."""
    try:
        try:
            INTERRUPTION.run()
            _check_settings()
            code: int = app(exit_on_error=False, print_error=False) or 0
            sys.stdout.flush()
        finally:
            INTERRUPTION.finish()
    except BaseException as error:
        answer = _answer(error)
        if answer is None:
            raise
        return answer
    return code


def _check_settings() -> None:
    drop_empty_variables()
    warn_of_unknown_variables()
    warn_of_unknown_tables(Path("digits.toml"), {command.split()[0] for command in COMMANDS})


def _answer(error: BaseException) -> int | None:
    """The exit code of what a command has raised, after a line that says what it was; None for a fault of ours."""
    if (code := INTERRUPTION.exit_code(error)) is not None:
        notes: list[str] = getattr(error, "__notes__", [])
        return complain("; ".join(["interrupted", *notes]), code) if code == CTRL_C or notes else code
    if isinstance(error, CycloptsError):
        return complain(" ".join(str(error).split()), 2)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("digits."):
        return complain(missing(error.name.partition(".")[0], sys.argv[1]), 1)
    if isinstance(error, BrokenPipeError):
        return 1  # the reader has seen enough
    if isinstance(error, Exception) and is_message(error):
        return complain(explained(error, sys.argv[1:]), 1)
    return None


def missing(module: str, command: str) -> str:
    extra = MODULE_EXTRAS.get(module, EXTRAS[command])
    return f"digits {command} needs {module}, which is not installed; pip install 'digits-serving[{extra}]'"


def complain(message: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told
        print(f"digits: {one_line(message)}", file=sys.stderr)
    return code


def is_message(error: Exception) -> bool:
    """Whether an error is one for the user: one of our own, or the system's. Any other is a fault of ours."""
    return isinstance(error, OSError) or type(error).__module__.startswith("digits.")


if __name__ == "__main__":
    main()
