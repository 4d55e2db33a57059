from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from digits.benchmarks.settings import (
    CompareBenchmarkSettings,
    EngineBenchmarkSettings,
    ExportBenchmarkSettings,
    ParityBenchmarkSettings,
    PeersBenchmarkSettings,
    ReportBenchmarkSettings,
    ScoreBenchmarkSettings,
    ServerBenchmarkSettings,
    TrainingBenchmarkSettings,
)
from digits.cli.errors import CommandError

Given = Annotated[Path, Parameter(show_env_var=False)]


def parity(
    run: Path | None = None,
    /,
    settings: Annotated[ParityBenchmarkSettings, Parameter(name="*")] = ParityBenchmarkSettings(),
) -> None:
    """Compare every variant with Keras, image by image, in this process and through the server.

    ```
    digits bench parity --data path/to/mnist.npz
    digits bench parity --models models --quick
    digits bench parity runs/first --models models
    ```

    All test images, and synthetic extremes: all 0, all 255, noise, one pixel. Exit code 1 if a variant disagrees by
    more than its version was published with, if an answer depends on its batch, or if the server's answer has other
    bytes than the process's own. A variant that a server on this host would reject, such as int8 on some older CPUs, is
    compared and marked, and is no failure; fp32 always has to agree.

    Args:
        run: The run folder that the version was exported from, whose model.keras is Keras then. Default: the network is
            rebuilt from the weights of fp32, and checked with the answers that were recorded at the export.
        settings: The settings.
    """
    from digits.benchmarks.parity import benchmark

    benchmark.run(run, settings)


def engine(settings: Annotated[EngineBenchmarkSettings, Parameter(name="*")] = EngineBenchmarkSettings()) -> None:
    """Time the model by batch size and threads, compared with Keras, TensorFlow and OpenVINO.

    ```
    digits bench engine
    digits bench engine --quick --batches 1,64
    ```

    Everything is timed in turn, one run after the other, from pixels to probabilities. The roofline shows what the
    measured peaks of this machine (float32 matrix multiplication, cache, memory) allow. Two figures are written next to
    the JSON. A variant that no server would run on this host is timed too, and marked.
    """
    from digits.benchmarks.engine import benchmark

    benchmark.run(settings)


def server(settings: Annotated[ServerBenchmarkSettings, Parameter(name="*")] = ServerBenchmarkSettings()) -> None:
    """Load a server: closed loop, open loop, mixed sizes, and the highest rate that meets an SLO.

    ```
    digits bench server
    digits bench server --server localhost:50051 --rates 500,1000 --slo 5
    ```

    Without --server, the bundled model is served over both transports. An echo is measured too: the native frontend
    without a model, sending each message back, the upper bound for every server and every load generator here. In the
    open loop calls are sent at random times whether or not others wait, and latencies count from then, so that a stall
    shows.
    """
    from digits.benchmarks.server import benchmark

    benchmark.run(settings)


def compare(
    a: Given,
    b: Given,
    /,
    settings: Annotated[CompareBenchmarkSettings, Parameter(name="*")] = CompareBenchmarkSettings(),
) -> int:
    """Tell whether one build is slower than another: a guard for CI.

    ```
    digits bench compare digits-0.1.0.whl .
    digits bench compare old/server.json new/server.json
    ```

    A build is a wheel, a checkout, or a folder that contains digits/; nothing is installed, and both run with the
    libraries of this Python. They are measured in turn, pair after pair, so that whatever else the machine does affects
    both. Exit code 1 if B answers fewer calls a second, or takes more processor time for a call, by more than --limit
    and beyond the noise of the pairs (and, as everywhere, if they cannot be measured: the last line says which). Two
    files, from different times, are compared by their ratios to the echo, which is an indication and never fails.

    Args:
        a: A wheel, a folder with the sources or with an installation, or a JSON file of `digits bench server`.
        b: The same of what may be slower.
        settings: The settings.
    """
    benchmark = _of_checkout("compare.benchmark")
    return int(benchmark.run(a, b, settings))


def report(settings: Annotated[ReportBenchmarkSettings, Parameter(name="*")] = ReportBenchmarkSettings()) -> None:
    """Make tables, figures and one HTML page from the JSON files of the benchmarks.

    ```
    digits bench report
    digits bench report --results benchmarks/results --readme benchmarks/README.md
    ```

    Reads NAME.json of every benchmark in the folder, or what was kept in NAME.partial.json; writes the figures,
    report.html, which contains everything, and README.md.
    """
    _of_checkout("report.report").run(settings)


def export(
    *runs: Path, settings: Annotated[ExportBenchmarkSettings, Parameter(name="*")] = ExportBenchmarkSettings()
) -> None:
    """Time the variants of exported runs, Keras and OpenVINO, in turn.

    ```
    digits bench export runs/first runs/best --out export.json
    ```

    Exports each run into a temporary folder. OpenVINO is measured where it is installed (digits-serving[bench]).

    Args:
        runs: The run folders.
        settings: The settings.
    """
    if not runs:
        raise CommandError("no run given; say `digits bench export RUN...`")
    from digits.benchmarks import export as benchmark

    benchmark.run(runs, settings)


def score(settings: Annotated[ScoreBenchmarkSettings, Parameter(name="*")] = ScoreBenchmarkSettings()) -> None:
    """Time the scoring of PNG files and only decoding them, in turn; measure its memory.

    ```
    digits bench score --data path/to/mnist.npz --out score.json
    digits bench score --pictures 10000 --rows 100000 --rounds 1
    ```

    Also measures the time of `import digits.client` compared with `import numpy, grpc`. Scores with the bundled model.
    """
    from digits.benchmarks import score as benchmark

    benchmark.run(settings)


def peers(settings: Annotated[PeersBenchmarkSettings, Parameter(name="*")] = PeersBenchmarkSettings()) -> None:
    """Compare the server with an echo, a plain grpc.aio server, and model servers of other projects.

    ```
    digits bench peers
    digits bench peers --servers kserve,mosec --rounds 1 --seconds 1
    digits bench peers --servers ours,echo --rounds 1 --seconds 1 --memory-requests 0 --overload-seconds 0
    ```

    Triton, KServe, MLServer, Ray Serve, mosec, LitServe and BentoML serve the same model file, one after the other,
    each in turn with digits. Each is installed into --cache, a minute and 0.2 to 0.6 GB; if one cannot be installed,
    the report says why. The load comes from h2load (Debian: nghttp2-client). Twenty minutes with all of them; Ctrl-C
    keeps what is measured. Says whether digits' server is as fast as required.
    """
    benchmark = _of_checkout("peers.benchmark")
    benchmark.run(settings)


def training(settings: Annotated[TrainingBenchmarkSettings, Parameter(name="*")] = TrainingBenchmarkSettings()) -> None:
    """Time the training loop and plain model.fit, in turn.

    ```
    digits bench training --data path/to/mnist.npz --repeats 3 --out training.json
    ```

    Prints the time and the test accuracy of each training, and the ratio of the times.
    """
    from digits.benchmarks import training as benchmark

    benchmark.run(settings)


def _of_checkout(name: str) -> Any:
    """A module that the wheel does not contain. Raises CommandError if it is missing."""
    try:
        return import_module(f"digits.benchmarks.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("digits.benchmarks."):
            raise
        command = f"digits bench {name.partition('.')[0]}"
        raise CommandError(f"{command} is not in the wheel; run it from a checkout (pip install -e .)") from error
