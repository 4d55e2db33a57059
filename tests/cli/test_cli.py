"""The command line: settings from three places, errors in one line, no unneeded imports."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from digits.cli.app import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Digits = Callable[..., subprocess.CompletedProcess[str]]
    Imported = Callable[..., set[str]]
    Shell = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def imported(environment: dict[str, str]) -> Callable[..., set[str]]:
    """Gives the top-level modules that a command imports, with a setting in the environment too."""

    def run(*arguments: str) -> set[str]:
        completed = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "digits.cli.app", *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=environment | {"DIGITS_DATA": "embedded"},
        )
        return {line.rpartition("|")[2].strip().partition(".")[0] for line in completed.stderr.splitlines()}

    return run


def test_help_lists_every_command_and_imports_none(digits: Digits, imported: Imported) -> None:
    completed = digits("--help")
    assert completed.returncode == 0
    for command in COMMANDS:
        assert f" {command.split()[0]} " in completed.stdout
    assert not imported("--help") & {"grpc", "keras", "numpy", "onnxruntime", "tensorflow"}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_with_an_example_and_every_default(
    digits: Digits, imported: Imported, command: str
) -> None:
    completed = digits(*command.split(), "--help")
    assert completed.returncode == 0
    assert f"digits {command} " in completed.stdout.partition("Parameters")[0].replace("Usage", "", 1)
    assert "default" in completed.stdout.lower()
    assert not imported(*command.split(), "--help") & {"keras", "matplotlib", "onnxruntime", "optuna", "tensorflow"}


def test_classify_in_this_process_never_loads_tensorflow(models: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.png")
    code = f"from digits.cli.classify import classify, ClassifySettings; from pathlib import Path; import sys; \
classify(Path({missing!r}), settings=ClassifySettings(models=Path({str(models)!r}))); \
sys.exit(bool({{'tensorflow', 'keras'}} & sys.modules.keys()) or 'onnxruntime' not in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sreve"], 'Unknown command "sreve". Did you mean "serve"?'),
        (["serve", "--modles", "x"], "Unknown option: --modles. Did you mean --models?"),
        (["serve", "--provider", "gpu"], 'Invalid value "gpu" for --provider. Choose from: "auto", "cpu", "cuda".'),
        (["serve", "--max-batch-size", "0"], 'Invalid value "0" for --max-batch-size. Must be >= 1.'),
        (["serve", "--threads", "many"], 'Invalid value for --threads: unable to convert "many" into int.'),
        (["train", "--validation-split", "1"], 'Invalid value "1.0" for --validation-split. Must be < 1.'),
        (
            ["train", "--layers", "512,0"],
            '"512,0" is not a list of node counts; give one for each hidden layer, as in 512,256',
        ),
        (["train", "--recipe", "bst"], 'Invalid value "bst" for --recipe. Choose from: "lesson", "best".'),
        (["train", "--learning-rate", "0"], 'Invalid value "0.0" for --learning-rate. Must be > 0.'),
        (["compare"], "a comparison takes two runs or more, not 0: digits compare RUN RUN..."),
        (["export"], 'Command "export" parameter SOURCE requires an argument.'),
        (["classify"], "no picture given; say `digits classify FILE...`"),
    ],
)
def test_a_mistake_is_one_line_that_says_which(digits: Digits, arguments: list[str], expected: str) -> None:
    completed = digits(*arguments)
    assert completed.returncode != 0
    (line,) = completed.stderr.splitlines()
    assert line.startswith("digits: ")
    assert expected in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--models", "no\nsuch"),
        ("models", "list", "--models", "no\nsuch"),
        ("score", "x", "--out", "no\nsuch/table.csv"),
        ("score", "x", "--out", "table.csv", "--labels", "no\nsuch"),
    ],
)
def test_a_path_stays_on_the_line_of_its_mistake(digits: Digits, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    completed = digits(*arguments, cwd=tmp_path)
    assert completed.returncode == 1
    (line,) = completed.stderr.splitlines()
    assert "no\\nsuch" in line


def test_command_line_comes_before_environment_before_file(digits: Digits, tmp_path: Path) -> None:
    """Each source names another repository; the error tells which one was looked into."""
    (tmp_path / "digits.toml").write_text('[serve]\nmodels = "from-file"\n')
    for arguments, env, expected in (
        ((), {}, "from-file"),
        ((), {"DIGITS_MODELS": "from-environment"}, "from-environment"),
        (("--models", "from-command-line"), {"DIGITS_MODELS": "from-environment"}, "from-command-line"),
    ):
        completed = digits("serve", *arguments, env=env, cwd=tmp_path)
        assert completed.stderr.startswith(f"digits: {expected}/digits: no model version")


def test_a_wrong_value_in_the_environment_or_the_file_is_named(digits: Digits, tmp_path: Path) -> None:
    completed = digits("serve", env={"DIGITS_THREADS": "0"}, cwd=tmp_path)
    assert completed.returncode != 0
    assert "DIGITS_THREADS" in completed.stderr
    (tmp_path / "digits.toml").write_text("[serve]\nthraeds = 2\n")
    completed = digits("serve", cwd=tmp_path)
    assert completed.returncode != 0
    assert "thraeds" in completed.stderr


def test_a_list_in_the_file_is_the_list_on_the_command_line(digits: Digits, tmp_path: Path) -> None:
    (tmp_path / "digits.toml").write_text('[train]\nlayers = [32, 16]\ndata = "embedded"\nepochs = 1\nout = "run"\n')
    completed = digits("train", cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert json.loads((tmp_path / "run" / "report.json").read_text())["settings"]["layers"] == [32, 16]


def test_what_is_not_a_setting_warns_with_the_nearest_one_and_has_no_effect(digits: Digits, tmp_path: Path) -> None:
    """DIGITS_VERSION may be a deployment's own; the library would take it for the version to show."""
    (tmp_path / "digits.toml").write_text("[server]\nthreads = 2\n")
    env = {"DIGITS_MAX_BATCHSIZE": "7", "DIGITS_VERSION": "7", "DIGITS_THREADS": "", "DIGITS_NOTHING": ""}
    completed = digits("models", "show", env=env, cwd=tmp_path)
    assert completed.returncode == 0
    assert completed.stdout.startswith("version     2, ")
    assert completed.stderr.splitlines() == [
        "digits: warning: DIGITS_MAX_BATCHSIZE is not a setting and is ignored; did you mean DIGITS_MAX_BATCH_SIZE?",
        "digits: warning: DIGITS_VERSION is not a setting and is ignored; did you mean DIGITS_PRECISION?",
        "digits: warning: server in digits.toml is not a command and is ignored; did you mean serve?",
    ]


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs shell text in which DIGITS is the command."""

    def run(text: str) -> subprocess.CompletedProcess[str]:
        text = text.replace("DIGITS", f"{sys.executable} -m digits.cli.app")
        return subprocess.run(
            text, check=False, shell=True, capture_output=True, text=True, env=environment, cwd=tmp_path
        )

    return run


def test_output_that_nobody_reads_or_can_hold_is_no_traceback(shell: Shell) -> None:
    completed = shell("DIGITS --help | true; DIGITS --help > /dev/full")
    assert (completed.returncode, completed.stderr) == (1, "digits: [Errno 28] No space left on device\n")
    assert shell("DIGITS serve --nope 2> /dev/full").returncode == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["--version", "models show", "classify missing.png", "serve --nope"])
def test_a_stream_that_is_closed_is_no_error_of_its_own(shell: Shell, arguments: str, closed: str) -> None:
    """What a command says on the others, and its exit code, are as ever."""
    whole, completed = shell(f"DIGITS {arguments}"), shell(f"DIGITS {arguments} {closed}")
    assert completed.returncode == whole.returncode
    assert completed.stdout == ("" if " >&-" in f" {closed}" else whole.stdout)
    assert completed.stderr == ("" if "2>&-" in closed else whole.stderr)


def test_a_file_that_a_command_writes_does_not_get_the_descriptor_of_a_closed_stream(
    shell: Shell, tmp_path: Path, test_digits: NDArray[np.uint8]
) -> None:
    np.save(tmp_path / "digits.npy", test_digits[:4])
    for table, closed in (("a.csv", ""), ("b.csv", "<&- >&- 2>&-")):
        shell(f"DIGITS score digits.npy --precision fp32 --out {table} {closed}")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("keras", ["train"], "train"),
        ("pyarrow", ["score", "x.png", "--out", "t.parquet"], "parquet"),
        ("ray", ["score", "x.png", "--out", "t.csv", "--engine", "ray"], "ray"),
    ],
)
def test_a_missing_extra_is_one_line_that_says_what_to_install(
    environment: dict[str, str], tmp_path: Path, module: str, command: list[str], extra: str
) -> None:
    argv = ["digits", *command]
    code = f"import sys; sys.modules[{module!r}] = None; sys.argv = {argv}; from digits.cli.app import main; main()"
    completed = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1] == (
        f"digits: digits {command[0]} needs {module}, which is not installed; pip install 'digits-serving[{extra}]'"
    )
