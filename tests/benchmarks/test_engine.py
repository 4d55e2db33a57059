"""`digits bench engine`: every system timed, the roofline right, and what is measured kept however it ends."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import pytest

from digits.benchmarks.engine.benchmark import planned
from digits.benchmarks.engine.roofline import Work, roof, roofline
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.settings import EngineBenchmarkSettings
from digits.export.publishing import export
from digits.export.settings import ExportSettings, ImportSettings
from digits.model.checksums import write_checksums
from digits.model.errors import ModelError
from digits.model.golden import Golden
from digits.model.limits import Limits
from digits.model.repository import BUNDLED, open_repository
from digits.model.selection import select

ONE = ("engine", "--data", "embedded", "--threads", 1)  # thread
PARAMETERS = 535_818  # of the bundled model
KERAS = {"Keras predict", "Keras call", "tf.function"}


@pytest.fixture(scope="module")
def measured(bench: Callable[..., Any]) -> Any:
    """A quick benchmark of the bundled model."""
    return bench(*ONE, "--quick", "--batches", "16,1")


def systems(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["measurements"] if row["system"] != "machine"]


def test_each_system_is_timed_at_each_batch_size(measured: Any) -> None:
    result = measured.result
    assert (result["benchmark"], result["complete"], result["repeats"]) == ("engine", True, 2)
    assert {row["system"] for row in systems(result)} >= {"fp32", "int8", *KERAS}
    loads = [(row["system"], row["load"]["batch"], row["load"]["threads"]) for row in systems(result)]
    assert sorted(loads) == sorted({(name, batch, 1) for name, _, _ in loads for batch in (1, 16)})
    for row in systems(result):
        assert len(row["repeats"]) == 2
        for repeat in row["repeats"]:
            mean = row["load"]["batch"] / repeat["images_per_second"] * 1e6
            latency = repeat["latency_us"]
            assert repeat["runs"] >= 1
            assert 0 < latency["p0"] <= latency["p50"] <= latency["p99"] <= latency["p100"]
            assert latency["p0"] - 0.1 <= mean * 1.001
            assert mean <= 1.001 * latency["p100"] + 0.1


def test_the_file_says_what_it_takes_to_measure_again_and_what_no_server_would_run(measured: Any) -> None:
    result = measured.result
    assert result["command"] == "digits bench engine --quick --batches 16,1 --threads 1"
    assert result["findings"]["model"]["version"] == open_repository(None).open().number
    assert {"machine", "versions", "commit", "data", "warm_up"} <= result.keys()
    assert str(BUNDLED) not in measured.file.read_text()
    for name in ("throughput", "roofline"):
        assert measured.file.with_name(f"engine-{name}.png").read_bytes().startswith(b"\x89PNG")
    try:
        select(open_repository(None).open(), precision="int8", provider="cpu")
        served = True
    except ModelError:
        served = False
    assert ("int8" in result["findings"]["not_served"]) != served
    assert ("int8 (not served on this host)" in measured.printed) != served


def test_the_roofline_follows_from_the_measurements(measured: Any) -> None:
    result = measured.result
    found = result["findings"]["roofline"]
    assert (found["parameters"], found["widths"]) == (PARAMETERS, [784, 512, 256, 10])
    machine = [row for row in result["measurements"] if row["system"] == "machine"]
    for row in machine:
        (rate,) = {key for key in row["repeats"][0] if key.endswith("_per_second")}
        assert found["roofs"]["1"][row["load"]["peak"]] == max(repeat[rate] for repeat in row["repeats"])
    assert {row["load"]["peak"] for row in machine} == {"multiply", "memory", "cache"} == found["roofs"]["1"].keys()
    medians = {
        (row["system"], row["load"]["batch"]): median(repeat["images_per_second"] for repeat in row["repeats"])
        for row in systems(result)
    }
    points = {(point["system"], point["batch"]): point["flops"] for point in found["points"]}
    assert points == pytest.approx({key: rate * 2 * PARAMETERS for key, rate in medians.items()})
    assert "fp32's share of the roof" in measured.printed


@pytest.mark.slow
def test_a_model_from_elsewhere_is_timed_without_keras(
    bench: Callable[..., Any], torch_form: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.05, shape).astype(np.float32) for shape in ((784, 32), (32, 10))]
    model = torch_form(weights, [np.zeros(32), np.zeros(10)], (1, 28, 28), ending="Softmax")
    onnx.save(model, tmp_path / "elsewhere.onnx")
    settings = ExportSettings(models=tmp_path / "models", data="embedded", variants=("fp16",))
    export(tmp_path / "elsewhere.onnx", settings, Limits(), ImportSettings())
    file, result, _ = bench(*ONE, "--quick", "--batches", 2, "--models", tmp_path / "models")
    found, names = result["findings"], {row["system"] for row in systems(result)}
    assert names >= {"fp32", "fp16"}
    assert not KERAS & names
    assert "not from a Keras run, but from elsewhere.onnx" in found["left_out"]["Keras, tf.function"]
    assert "fp16 runs on CUDA only" in found["not_served"]["fp16"]
    assert found["roofline"]["widths"] == [784, 32, 10]
    assert str(tmp_path) not in file.read_text()


@pytest.mark.slow
def test_a_model_that_answers_wrongly_is_an_error_after_all_is_written(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    version, out = tmp_path / "models" / "digits" / "1", tmp_path / "engine.json"
    shutil.copytree(BUNDLED / "digits" / "1", version)
    golden = Golden.read(version / "golden.npz")
    Golden(golden.pixels, np.roll(golden.reference, 1, axis=0), golden.answers).write(version / "golden.npz")
    (version / "SHA256SUMS").unlink()
    write_checksums(version)
    error = refused(*ONE, "--quick", "--batches", 1, "--models", tmp_path / "models", "--out", out)
    assert "fp32 differs from the golden set's answers by" in error
    findings = json.loads(out.read_text())["findings"]
    assert "fp32" in findings["not_served"]
    says = "rebuilt Keras differs from the answers recorded at the export by"
    assert says in findings["left_out"]["Keras, tf.function"]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "says"), [(130, "interrupted"), (1, "the process for --threads 1 was killed")])
def test_what_is_measured_is_kept(ended: Callable[..., Any], code: int, says: str) -> None:
    def end(process: Any, children: list[int]) -> None:  # another child is multiprocessing's resource tracker
        (measuring,) = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(*((process.pid, signal.SIGINT) if code == 130 else (measuring, signal.SIGKILL)))

    options = (*ONE, "--batches", "1,64", "--repeats", 1000)
    found = ended(*options, until="repeat 1 of 1000: batches of 64", end=end)
    assert found.code == code
    assert found.error.startswith(f"digits: {says}")
    assert {row["system"] for row in systems(found.partial) if row["load"]["batch"] == 1} >= {"fp32", *KERAS}
    assert all(len(row["repeats"]) == 1 for row in found.partial["measurements"])


@pytest.mark.parametrize(
    ("option", "value", "code", "message"),
    [
        ("--batches", "0", 2, '"0" is not a list of whole numbers of at least 1'),
        ("--batches", "1,many", 2, '"1,many" is not a list of whole numbers of at least 1'),
        ("--batches", "65537", 1, "--batches 65537: takes too much memory; give 65536 at most"),
        ("--threads", "5000", 1, "--threads 5000: more than the cores of this process; give "),
        ("--models", "nowhere", 1, "nowhere/digits: no model version"),
    ],
)
def test_a_wrong_setting_is_reported_at_once(
    refused: Callable[..., str], tmp_path: Path, option: str, value: str, code: int, message: str
) -> None:
    assert message in refused("engine", option, value, code=code, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_threads_without_a_core_of_their_own_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(EngineBenchmarkSettings(threads=(8, 2, 1)), cores=2)
    assert plan.threads == [1, 2]
    assert capsys.readouterr().out == "left out: --threads 8, more than the cores of this process, 2\n"
    says = "--threads 8: more than the cores of this process; give 2 at most"
    with pytest.raises(BenchmarkError, match=re.escape(says)):
        planned(EngineBenchmarkSettings(threads=(8,)), cores=2)


@pytest.mark.parametrize(
    ("given", "planned_for"),
    [
        ({}, ([1, 64, 1024], [1], 2)),
        ({"batches": (8,), "threads": (2,), "repeats": 3}, ([8], [2], 3)),
    ],
)
def test_quick_chooses_what_is_not_given(given: dict[str, Any], planned_for: tuple[object, ...]) -> None:
    plan = planned(EngineBenchmarkSettings(quick=True, **given), cores=2)
    assert (list(plan.batches), plan.threads, plan.repeats) == planned_for


def test_the_roof_is_the_lower_one_of_multiplication_and_reading() -> None:
    """784 to 3 to 10: 2,352 + 30 weights and 13 biases, by paper and pencil."""
    work, peaks = Work(2395, (784, 3, 10)), {"multiply": 100.0, "cache": 20.0, "memory": 5.0}
    assert work.flop(2) == 2 * 2 * 2395
    moved = 784 + 2 * 4 * 784 + 2 * 4 * 3 + 4 * 10  # pixels; floats and a layer, written and read; probabilities
    assert work.bytes(2, 4) == 4 * 2395 + 2 * moved
    assert (roof(1, peaks), roof(1, peaks, "memory"), roof(50, peaks)) == (20, 5, 100)
    rows = [
        {"system": "machine", "load": {"peak": name, unit: 1, "threads": 1}, "repeats": [{f"{unit}_per_second": peak}]}
        for (name, peak), unit in zip(peaks.items(), ("flop", "bytes", "bytes"), strict=True)
    ]
    rows += [
        {"system": name, "load": {"batch": 2, "threads": 1}, "repeats": [{"images_per_second": rate}]}
        for name, rate in (("fp32", 1e-3), ("int8", 2e-3))
    ]
    fp32, int8 = roofline(work, rows)["points"]
    assert fp32["flops"] == pytest.approx(4.79)
    assert fp32["share"] == pytest.approx(4.79 / (fp32["intensity"] * 20))
    assert int8["intensity"] > fp32["intensity"]
    assert "share" not in int8
