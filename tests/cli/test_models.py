"""`digits models`: what there is, what is known of it, in what two versions differ, and the way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from digits.cli import models as commands
from digits.export.errors import ExportError
from digits.model.errors import RepositoryError
from digits.model.repository import GOLDEN, MANIFEST, Repository, open_repository

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Digits = Callable[..., subprocess.CompletedProcess[str]]
    Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A repository of this test's own, with one version."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def publish(models: Path, **changes: Any) -> None:
    """Publishes version 1 again with some fields of its manifest changed."""
    repository = Repository(models)
    with repository.staging() as staged:
        for file in (repository.folder / "1").iterdir():
            shutil.copy(file, staged)
        manifest = json.loads((staged / MANIFEST).read_text())
        (staged / MANIFEST).write_text(json.dumps(manifest | changes))
        repository.publish(staged)


def damage(models: Path, number: int) -> None:
    golden = models / "digits" / str(number) / GOLDEN
    content = bytearray(golden.read_bytes())
    content[len(content) // 2] ^= 1
    golden.write_bytes(content)


def rows(text: str) -> dict[str, str]:
    """The lines of a table, or of facts, by their first word."""
    return {line.split()[0]: line for line in text.splitlines() if line}


def test_the_list_has_a_line_for_each_version_and_says_why_one_is_not_served(copy: Path, capsys: Capture) -> None:
    """Of versions that are withdrawn or damaged too, even if it is the newest."""
    publish(copy)
    publish(copy, created="2031-05-06T07:08:09+00:00", reference="torch.onnx", test_images=10_000)
    publish(copy)
    commands.rollback(models=copy)
    withdrawn = "withdrawn: 4; kept until a newer version is there and `digits models prune` runs"
    assert capsys.readouterr().out == f"newest: {copy}/digits/3\n{withdrawn}\n"
    damage(copy, 2)
    commands.list_(models=copy)
    said = capsys.readouterr().out
    listed, manifest = rows(said), Repository(copy).open(1).manifest
    accuracy = f"{manifest.variants['fp32'].accuracy:.2%}"
    head = "version created accuracy test images reference variants size state"
    assert " ".join(said.splitlines()[0].split()) == head
    assert list(listed) == ["version", "1", "2", "3", "4"]
    for fact in (manifest.created[:10], accuracy, "1,000", "Keras", "fp32, int8, fp16", " MB"):
        assert fact in listed["1"]
    assert listed["2"].endswith(f" 2/{GOLDEN}: damaged, its SHA-256 is not the published one; export it again")
    assert "fp32" not in listed["2"]
    for fact in ("2031-05-06 07:08:09 ", accuracy, "10,000", "torch.onnx", "fp32, int8, fp16"):
        assert fact in listed["3"]
    assert [number for number, line in listed.items() if line.endswith("newest")] == ["3"]
    assert listed["4"].split() == ["4", "withdrawn"]
    damage(copy, 3)
    commands.list_(models=copy)
    assert f"3/{GOLDEN}: damaged" in rows(capsys.readouterr().out)["3"]


def test_an_empty_repository_is_one_line_and_a_change_never_applies_to_the_bundled_model(
    digits: Digits, tmp_path: Path
) -> None:
    for arguments, folder in ((("list", "--models", tmp_path), f"{tmp_path}/digits"), (("prune",), "models/digits")):
        completed = digits("models", *arguments, cwd=tmp_path)
        assert completed.returncode == 1
        assert completed.stderr == f"digits: {folder}: no model version; publish one with `digits export RUN`\n"


def test_a_version_is_shown_with_its_evidence(models: Path, capsys: Capture) -> None:
    commands.show(1, models=models)
    shown = capsys.readouterr().out
    manifest = Repository(models).open().manifest
    facts, _, checks = shown.partition("\n\n")
    assert f"version     1, {models}/digits/1\n" in facts
    assert f"Keras, SHA-256 {manifest.reference_sha256}\n" in facts
    assert f"SHA-256 {manifest.test_sha256}\n" in facts
    assert rows(facts)["created"].endswith(manifest.created)
    assert "3,600 images" in rows(facts)["trained"]
    assert "epochs" in rows(facts)["settings"]
    assert "onnxruntime" in rows(facts)["versions"]
    assert "int8_agreement 99, int8_accuracy_loss 1" in rows(facts)["limits"]
    assert "\nint8        model.int8.onnx, int8 dense layers" in facts

    title, *table = checks.splitlines()
    against = "acceptance checks: 1,000 test images against Keras"
    assert title.startswith(f"{against}; microseconds an image in batches of 1, 64, 1024")
    baselines = [name.split()[0] for name in manifest.baselines]
    assert [line.split()[0] for line in table] == ["variant", "fp32", "int8", "fp16", *baselines]
    for name, variant in manifest.variants.items():
        line = rows(checks)[name]
        assert f"{variant.max_abs_diff:.1e}" in line
        assert f"{round(variant.argmax_agreement * 1000):,} of 1,000" in line
        assert f"{variant.accuracy:.2%}" in line
        assert f" {variant.seconds_per_image['64'] * 1e6:.1f}" in line
        assert " yes " in line


def test_a_variant_that_was_left_out_is_shown_with_its_reason(copy: Path, capsys: Capture) -> None:
    """So is an imported model, whose training is unknown."""
    manifest = json.loads((copy / "digits" / "1" / MANIFEST).read_text())
    del manifest["variants"]["fp16"]
    publish(copy, variants=manifest["variants"], left_out={"fp16": "max |dp| 0.25 is above 0.005"}, training={})
    commands.show(models=copy)
    shown = capsys.readouterr().out
    assert f"version   2, {copy}/digits/2\n" in shown
    assert "\nno fp16   max |dp| 0.25 is above 0.005\n" in shown
    assert "trained on" not in shown


def test_the_figure_shows_the_graphs_and_one_of_an_unknown_kind_is_one_line(
    models: Path, tmp_path: Path, capsys: Capture
) -> None:
    commands.show(models=models, figure=tmp_path / "graphs.png")
    assert capsys.readouterr().out.endswith(f"\nfigure: {tmp_path}/graphs.png\n")
    with Image.open(tmp_path / "graphs.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(2**24) or []) > 50
    commands.show(models=models, figure=tmp_path / "graphs.svg")
    assert "<svg" in (tmp_path / "graphs.svg").read_text()
    refusal = rf"^{tmp_path}/graphs.xyz: Format 'xyz' is not supported \(supported formats: [^\n]*$"
    with pytest.raises(ExportError, match=refusal):
        commands.show(models=models, figure=tmp_path / "graphs.xyz")
    assert not (tmp_path / "graphs.xyz").exists()


def test_the_difference_of_two_versions_names_every_fact_in_which_they_differ(copy: Path, capsys: Capture) -> None:
    manifest = json.loads((copy / "digits" / "1" / MANIFEST).read_text())
    variants, training = manifest["variants"], manifest["training"]
    variants["fp32"]["accuracy"] = 0.875
    variants["int8"]["seconds_per_image"]["64"] = 0.5
    del variants["fp16"]
    training["settings"]["layers"] = [64, 32]
    training["epochs"] = []
    sha256 = "f" * 64
    publish(copy, created="2031-05-06T07:08:09+00:00", reference_sha256=sha256, variants=variants, training=training)
    commands.diff(1, 2, models=copy)
    said = capsys.readouterr().out
    differences = rows(said)
    assert said.splitlines()[0].split() == ["version", "1", "version", "2"]
    assert differences["reference_sha256"].endswith(f"...  {sha256[:45]}...")
    assert differences["variants.fp32.accuracy"].endswith("  0.875")
    assert differences["variants.int8.seconds_per_image.64"].endswith("  0.5")
    assert differences["variants.fp16.file"].split() == ["variants.fp16.file", "model.fp16.onnx", "-"]
    assert differences["training.settings.layers"].split() == ["training.settings.layers", "512,256", "64,32"]
    others = {name for name in differences if not name.startswith("variants.fp16.")} - {"version"}
    assert others == {
        name for name in differences if name.startswith(("reference_", "training.", "variants.fp32", "variants.int8"))
    }
    assert len(others) == 4


def test_two_versions_that_are_the_same_say_so(copy: Path, capsys: Capture) -> None:
    publish(copy, created="2031-05-06T07:08:09+00:00")
    commands.diff(2, 1, models=copy)
    assert capsys.readouterr().out == "versions 2 and 1 have the same manifest\n"
    with pytest.raises(RepositoryError, match=r"no version 3; there are \[1, 2\]"):
        commands.diff(1, 3, models=copy)


def test_rollback_and_prune_say_what_they_did(digits: Digits, copy: Path, capsys: Capture) -> None:
    for _ in range(3):
        publish(copy)
    rolled = digits("models", "rollback", 2, "--models", copy)
    assert (rolled.returncode, rolled.stderr) == (0, "")
    assert rolled.stdout.startswith(f"newest: {copy}/digits/2\nwithdrawn: 3, 4; kept until a newer version is there")
    commands.prune(models=copy)
    publish(copy)
    commands.prune(models=copy, keep=1)
    assert capsys.readouterr().out == "removed: nothing\nremoved: 1, 2, 3, 4\n"
    assert Repository(copy).versions() == [5]
    refused = digits("models", "prune", "--keep", 0, "--models", copy)
    assert (refused.returncode, Repository(copy).versions()) == (2, [5])
    assert "--keep" in refused.stderr


def test_without_a_repository_the_bundled_model_is_shown(digits: Digits, tmp_path: Path, capsys: Capture) -> None:
    commands.show()
    bundled = open_repository(None).open()
    shown = rows(capsys.readouterr().out)
    assert shown["version"].split("  ")[-1].strip() == f"{bundled.number}, {bundled.folder}"
    assert bundled.manifest.novelty is not None
    assert f"not a digit above {bundled.manifest.novelty.threshold:.4g}, as are 0." in shown["novelty"]
    completed = digits("models", "list", cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert list(rows(completed.stdout)) == ["version", *map(str, open_repository(None).versions())]
    assert completed.stdout.rstrip().endswith("newest")
