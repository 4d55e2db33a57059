"""The benchmark of a server: what it measures is real, and it is kept if the server dies."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from digits.benchmarks.load.measure import ServerUnderTest
from digits.benchmarks.server.benchmark import Search, meets

Digits = Callable[..., subprocess.CompletedProcess[str]]

QUICK = ("--data", "embedded", "--quick")


@pytest.mark.slow
def test_every_kind_of_load_is_measured(bench: Callable[..., Any]) -> None:
    options = ("--connections", "1,16", "--seconds", 0.1, "--repeats", 1, "--generator", "asyncio")
    file, result, printed = bench("server", "--data", "embedded", *options)
    assert f"measured: {file}\n" in printed
    assert result["command"].startswith("digits bench server --connections 1,16 ")
    assert (result["complete"], result["seed"], result["repeats"]) == (True, 0, 1)
    measured = result["measurements"]
    assert {row["system"] for row in measured} == {"digits, native", "digits, grpcio", "echo"}
    assert {row["load"]["method"] for row in measured} == {"Classify", "ModelInfer UINT8"}
    kinds = {(row["load"]["loop"], str(row["load"]["images"]), "slo_ms" in row["load"]) for row in measured}
    closed = {("closed", images, False) for images in ("1", "1,8,64", "64")}
    assert kinds == closed | {("open", *load) for load in (("1", False), ("1,8,64", False), ("1", True), ("64", True))}
    for row in measured:
        for repeat in row["repeats"]:
            assert repeat["cpu_us"] > 0
            assert repeat["resident_mb"] > 5
            assert repeat["latency_us"]["p50"] <= repeat["latency_us"]["p99.9"]
            if row["system"] != "echo":
                assert 0 < repeat["server_compute_us"] < repeat["latency_us"]["p100"]


def _seen(rate: float, p99: float, late: float = 0.0, **failed: int) -> dict[str, Any]:
    """A repeat of the open loop."""
    percentiles = {"latency_us": {"p99": p99}, "sent_late_us": {"p99": late}}
    return {"offered_calls_per_second": rate, "failed": failed, **percentiles}


def test_the_slo_is_met_if_all_calls_are_answered_and_99_percent_in_time() -> None:
    assert meets(_seen(100, 9_999), slo_ms=10)
    assert not meets(_seen(100, 10_001), slo_ms=10)
    assert not meets(_seen(100, 1, RESOURCE_EXHAUSTED=1), slo_ms=10)
    assert not meets({**_seen(100, 1), "latency_us": None}, slo_ms=10)


def test_a_late_generator_is_distinguished_from_a_slow_server() -> None:
    slow, late, good = _seen(300, 30_000, late=100), _seen(400, 40_000, late=39_000), _seen(200, 5_000)
    for tried, bounded in {(0, 1, 2): False, (0, 2): True, (0,): True}.items():  # in the last one no rate missed it
        repeats = [(good, slow, late)[i] for i in tried]
        search = Search(ServerUnderTest("digits", "nowhere"), [], slo_ms=10, seconds=1, seed=0, tried=repeats)
        assert search.is_bounded_by_generator == bounded


def test_a_running_server_is_measured_with_an_echo(bench: Callable[..., Any], serving: Callable[..., Any]) -> None:
    with serving() as server:
        options = ("--server", server.address, "--rates", "50,100", "--seconds", 0.1)
        measured = bench("server", *QUICK, *options).result["measurements"]
    assert {row["system"] for row in measured} == {server.address, "echo"}
    assert {row["load"]["loop"] for row in measured} == {"closed", "open"}
    assert [row["load"]["rate"] for row in measured if "rate" in row["load"]] == [50, 100]
    assert all(("cpu_us" in one) == (row["system"] == "echo") for row in measured for one in row["repeats"])


def test_a_wrong_address_is_reported(refused: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "server.json"
    error = refused("server", *QUICK, "--server", "127.0.0.1:1", "--out", file)
    assert error.startswith("digits: 127.0.0.1:1 does not answer: UNAVAILABLE: ")
    assert not file.exists()


def test_a_model_that_disagrees_is_reported(
    digits: Digits,
    refused: Callable[..., str],
    serving: Callable[..., Any],
    torch_form: Callable[..., onnx.ModelProto],
    classifier: Any,
    tmp_path: Path,
) -> None:
    """A model whose digits are shifted by one passes the acceptance checks, which compare it with itself."""
    shifted = [9, *range(9)]
    weights = [*classifier.coefs_[:-1], classifier.coefs_[-1][:, shifted]]
    biases = [*classifier.intercepts_[:-1], classifier.intercepts_[-1][shifted]]
    file, models = tmp_path / "shifted.onnx", tmp_path / "models"
    onnx.save(torch_form(weights, biases, (1, 28, 28)), file)
    exported = digits("export", file, "--output", "logits", "--data", "embedded", "--models", models)
    assert exported.returncode == 0, exported.stderr
    with serving("--models", models) as server:
        error = refused("server", *QUICK, "--server", server.address, "--out", tmp_path / "server.json")
    assert error.endswith("of the 64 clear images another digit; does it serve another model? Give its --models\n")


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["asyncio", "auto"])
def test_measurements_of_a_server_that_dies_are_kept(
    ended: Callable[..., Any], serving: Callable[..., Any], tmp_path: Path, generator: str
) -> None:
    with serving() as server:
        loads = ("--data", "embedded", "--generator", generator, "--repeats", 100, "--seconds", 0.2)
        options = (*loads, "--server", server.address)
        found = ended("server", *options, until="2/100", end=lambda *_: server.process.kill())
    assert found.code == 1
    said = found.error.splitlines()[-1]
    assert "UNAVAILABLE" in said or "DEADLINE_EXCEEDED" in said
    assert found.printed.endswith(f"kept what was measured: {tmp_path / 'server.partial.json'}\n")
    assert found.partial["ended_by"] == said.removeprefix("digits: ")
    assert found.partial["measurements"][0]["repeats"][0]["calls_per_second"] > 0
