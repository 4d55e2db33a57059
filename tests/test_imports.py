"""The architecture's rules: who may import whom, and where the heavy libraries stay."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Data flows from left to right, and imports look back along it.
MAY_IMPORT = {
    "storage": set[str](),
    "report": set[str](),
    "images": set[str](),
    "train": {"images", "model"},
    "model": {"images"},
    "export": {"images", "model", "train"},
    "lab": {"images", "model", "train"},
    "protos": set[str](),
    "serve": {"images", "model", "protos"},
    "client": {"images", "model", "protos"},
    "score": {"client", "images", "model"},
    "benchmarks": {"client", "export", "images", "model", "protos", "score", "train"},
    "cli": {"benchmarks", "client", "export", "images", "lab", "model", "score", "serve", "train"},
}
# Only what trains, or reads what a training wrote, imports train/.
MAY_TRAIN = {"cli/train.py", "export/source.py", "benchmarks/keras_model.py", "benchmarks/training.py"}
NEUTRAL = {"storage", "report"}  # they import nothing of ours, and every package may import them
ONLY_IN = {
    "tensorflow": {"model"},
    "tf2onnx": {"export"},
    "keras": {"model"},
    "jinja2": {"report"},
    "matplotlib": {"benchmarks", "export", "lab", "report", "train"},
    "onnx": {"export"},
    "openvino": {"export"},
    "onnxruntime": {"benchmarks", "model"},  # benchmarks/peers/servers/, which another interpreter runs
    "optuna": {"lab"},
    "pyarrow": {"score"},
    "ray": {"benchmarks", "score"},  # benchmarks/peers/servers/ray.py, which another interpreter runs
    "pygrpc_native": {"benchmarks", "serve"},
    "grpc": {"benchmarks", "client", "protos", "serve"},
}


def imports(package: str) -> dict[Path, set[str]]:
    """What each file of a package imports, as dotted names."""
    found = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: say the whole name"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[file] = names
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_stands_before_it(package: str) -> None:
    for file, names in imports(package).items():
        ours = {name.split(".")[1] for name in names if name.startswith("digits.")}
        allowed = MAY_IMPORT[package] if package in NEUTRAL else MAY_IMPORT[package] | NEUTRAL
        assert ours - {package} <= allowed, file


def test_only_what_trains_or_reads_a_run_imports_train() -> None:
    files = {
        str(file.relative_to(ROOT))
        for package in MAY_IMPORT.keys() - {"lab", "train"}
        for file, names in imports(package).items()
        if any(name.startswith("digits.train.") for name in names)
    }
    assert files <= MAY_TRAIN


def test_what_serves_and_asks_never_imports_tensorflow() -> None:
    for package in MAY_IMPORT.keys() - {"benchmarks", "export", "lab", "train"}:
        for file, names in imports(package).items():
            assert not any(name.startswith("digits.model.tensorflow") for name in names), file


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_heavy_library_stays_where_it_belongs(package: str) -> None:
    for file, names in imports(package).items():
        for library in {name.split(".")[0] for name in names} & ONLY_IN.keys():
            assert package in ONLY_IN[library], f"{file} imports {library}"


@pytest.mark.parametrize("library", ["keras", "tensorflow"])
def test_keras_and_tensorflow_are_imported_in_one_place_which_is_quiet(library: str) -> None:
    files = {file for package in MAY_IMPORT for file, names in imports(package).items() if library in names}
    assert files <= {ROOT / "model" / "tensorflow.py"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_is_imported_by_its_whole_name(package: str) -> None:
    """`import train` works in the root folder alone; `import digits.train` works everywhere."""
    for file, names in imports(package).items():
        assert not {name.split(".")[0] for name in names} & MAY_IMPORT.keys(), file


def test_every_package_at_the_root_has_a_rule() -> None:
    packages = {folder.parent.name for folder in ROOT.glob("*/py.typed")}
    assert packages == MAY_IMPORT.keys()


def test_the_batcher_knows_neither_grpc_nor_onnx() -> None:
    names = imports("serve")[ROOT / "serve" / "batcher.py"]
    assert not {name for name in names if name.split(".")[0] in {"grpc", "google", "onnxruntime"}}
