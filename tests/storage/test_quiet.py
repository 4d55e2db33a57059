"""TensorFlow writes to stderr while it is imported (see tests/loud): no module of ours lets it through."""

import os
import subprocess
import sys

import pytest

from digits.storage.quiet import quiet_stderr


def stderr_of(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stderr


def test_the_tests_would_see_what_tensorflow_writes(environment: dict[str, str]) -> None:
    found = stderr_of("import importlib.util; importlib.util.find_spec('tensorflow')", environment)
    assert found == "TensorFlow is imported\n"


@pytest.mark.parametrize("module", ["train.training", "export.keras_model", "lab.sweep"])
def test_a_module_that_imports_tensorflow_is_quiet(environment: dict[str, str], module: str) -> None:
    code = f"import sys, digits.{module}; sys.exit('tensorflow' not in sys.modules)"
    assert not stderr_of(code, environment)


def test_what_is_held_back_is_shown_if_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        os.write(2, b"a greeting\n")
    with pytest.raises(ImportError), quiet_stderr():  # noqa: PT012 the block is what fails
        os.write(2, b"a reason\n")
        raise ImportError
    assert capfd.readouterr().err == "a reason\n"
