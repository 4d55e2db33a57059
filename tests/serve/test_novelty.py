"""Novelty: the same number, to the bit, from the engine, the server, the client, `classify` and `score`."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from PIL import Image

from digits.client import Client
from digits.client.local import LocalClassifier
from digits.model.checksums import write_checksums
from digits.model.engine import Engine
from digits.model.manifest import Manifest
from digits.model.repository import MANIFEST, Repository
from digits.protos.digits.v1 import digits_pb2, digits_pb2_grpc
from digits.score import scoring
from digits.score.settings import ScoreSettings

if TYPE_CHECKING:
    from pathlib import Path

    from digits.model.manifest import NoveltyThreshold
    from digits.tests.serve.conftest import Digits, Pixels, Serving

COUNT = 40  # pictures


@pytest.fixture(scope="module")
def strict(models: Path, test_digits: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model with a threshold that calls every other test digit not a digit."""
    folder = tmp_path_factory.mktemp("strict") / "models"
    shutil.copytree(models, folder)
    version = Repository(folder).open()
    novelty = Engine(version.file("fp32"), provider="cpu").answer(test_digits[:COUNT]).novelty
    assert novelty is not None
    found: NoveltyThreshold | None = version.manifest.novelty
    assert found is not None
    threshold = replace(found, threshold=float(np.sort(novelty)[COUNT // 2]))
    replace(version.manifest, novelty=threshold).write(version.folder / MANIFEST)
    write_checksums(version.folder)
    return folder


@pytest.fixture(scope="module")
def pictures(test_digits: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first test digits as PNG files, which keep their pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, digit in enumerate(test_digits[:COUNT]):
        Image.fromarray(digit).save(folder / f"{index:02}.png")
    return folder


def score(path: Path, out: Path, **settings: Any) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of the table, and the summary."""
    said: list[str] = []
    scoring.score([str(path)], ScoreSettings(out=out, precision="fp32", processes=1, **settings), said.append)
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), said


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_the_graph_gives_the_largest_logit_negated_in_any_batch(
    models: Path, test_digits: Pixels, variant: str
) -> None:
    """The logits are what Softmax takes; with them as a third output the file runs as before."""
    file = Repository(models).open().file(variant)
    engine, model = Engine(file, provider="cpu"), onnx.load(file)
    whole = engine.answer(test_digits)
    assert whole.novelty is not None
    for size in (1, 2, 7, 64, 513):
        parts = [engine.answer(test_digits[start : start + size]).novelty for start in range(0, 1000, size)]
        assert np.concatenate([part for part in parts if part is not None]).tobytes() == whole.novelty.tobytes()
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(softmax.input[0], 1, ["batch", 10]))
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"pixels": test_digits})
    assert whole.novelty.tobytes() == (-logits.max(axis=1)).tobytes()


def test_all_ways_agree(
    strict: Path, pictures: Path, test_digits: Pixels, serving: Serving, transport: str, digits: Digits, tmp_path: Path
) -> None:
    """Half of the pictures are not a digit for each of them; arrays keep their answers everywhere."""
    version = Repository(strict).open()
    expected = Engine(version.file("fp32"), provider="cpu").answer(test_digits[:COUNT])
    assert expected.novelty is not None
    assert version.manifest.novelty is not None
    rejected = expected.novelty > np.float32(version.manifest.novelty.threshold)
    assert rejected.sum() == COUNT // 2 - 1
    files = sorted(pictures.iterdir())
    with (
        serving("--models", strict, "--precision", "fp32", "--transport", transport) as server,
        Client(server.address) as client,
    ):
        ours = [client.classify(test_digits[:COUNT]), LocalClassifier(strict, precision="fp32").classify(files)]
        ours += [client.classify(files), *client.stream([test_digits[:COUNT]])]
        stub = digits_pb2_grpc.DigitClassifierStub(client._channels[0])
        sent = digits_pb2.ClassifyRequest(pictures=[file.read_bytes() for file in files])
        answer = stub.Classify(sent, timeout=30)
        table, _ = score(pictures, tmp_path / "server.csv", server=server.address)
        shown = digits("classify", *files, "--server", server.address, "--json")
    for found in ours:
        assert found.novelties is not None
        assert found.not_a_digit is not None
        assert found.novelties.tobytes() == expected.novelty.tobytes()
        assert np.array_equal(found.not_a_digit, rejected)
        assert np.array_equal(found.digits, expected.probabilities.argmax(axis=1))
    assert np.array(answer.novelties, np.float32).tobytes() == expected.novelty.tobytes()
    assert list(answer.not_a_digit) == rejected.tolist()
    here, said = score(pictures, tmp_path / "here.csv", models=strict)
    assert here == table
    assert np.array([row["novelty"] for row in here], np.float32).tobytes() == expected.novelty.tobytes()
    assert [row["status"] for row in here] == ["not a digit" if each else "ok" for each in rejected]
    assert [row["digit"] == "" for row in here] == rejected.tolist()
    assert f"{rejected.sum()} not a digit" in said[1]
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert shown.returncode == 1
    assert np.array([line["novelty"] for line in lines], np.float32).tobytes() == expected.novelty.tobytes()
    assert ["error" in line for line in lines] == rejected.tolist()


def test_arrays_keep_their_answers_in_a_table_and_carry_the_novelty(
    strict: Path, test_digits: Pixels, tmp_path: Path
) -> None:
    np.save(tmp_path / "digits.npy", test_digits[:COUNT])
    table, _ = score(tmp_path / "digits.npy", tmp_path / "table.csv", models=strict)
    assert {row["status"] for row in table} == {"ok"}
    assert all(float(row["novelty"]) for row in table)


def test_a_model_without_novelty_still_answers_and_the_summary_says_so(
    models: Path, pictures: Path, tmp_path: Path
) -> None:
    """As a repository of an earlier version has it: no second output, no threshold, no novelty in the golden set."""
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    version = Repository(folder).open()
    model = onnx.load(version.file("fp32"))
    del model.graph.output[1]
    onnx.save(model, version.file("fp32"))
    fields = json.loads((version.folder / MANIFEST).read_text())
    del fields["novelty"]
    (version.folder / MANIFEST).write_text(json.dumps(fields))
    with np.load(version.golden) as golden:
        kept = {name: golden[name] for name in golden if not name.startswith("novelty.")}
    np.savez(version.golden, **kept)
    write_checksums(version.folder)
    assert Manifest.read(version.folder / MANIFEST).novelty is None
    found = LocalClassifier(folder, precision="fp32").classify(sorted(pictures.iterdir()))
    assert found.novelties is None
    assert found.not_a_digit is None
    table, said = score(pictures, tmp_path / "table.csv", models=folder)
    assert {(row["novelty"], row["status"]) for row in table} == {("", "ok")}
    assert "novelty     this model has none: pictures of other things get a digit too" in said
