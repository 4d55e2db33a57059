"""README.md and the pages of docs/: their commands and their Python run, in order, and print what they show."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TRAINS = {"tutorial.md", "train.md"}  # minutes of training and export, or of measuring
MEASURES = {"measure.md"}
RUN = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> Iterator[object]:
    """The documents in which something is run."""
    for page in (README, *sorted((ROOT / "docs").rglob("*.md"))):
        if RUN.search(page.read_text(encoding="utf-8")):
            slow = [pytest.mark.slow] if page.name in TRAINS | MEASURES else []
            yield pytest.param(page, marks=slow, id=str(page.relative_to(ROOT)))


def blocks(page: Path, port: int) -> list[tuple[str, str]]:
    """The fenced blocks that are run, as language and content, with another port than the default one."""
    return RUN.findall(page.read_text(encoding="utf-8").replace("50051", str(port)))


def commands(console: str) -> list[tuple[str, str]]:
    """Each command of a console block, with what it prints."""
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in console.split("$ ")[1:]]


def assert_like(printed: str, shown: str) -> None:
    """What is shown is what was printed; `...` stands for anything."""
    pattern = re.escape(shown.strip()).replace(re.escape("..."), ".*?")
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"the document shows\n{shown}\nand it printed\n{printed}"


@pytest.mark.parametrize("page", list(pages()))
def test_its_commands_print_what_it_shows(
    page: Path, models: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.chdir(tmp_path)
    environment |= {"DIGITS_DATA": "embedded", "DIGITS_ADDRESS": f"127.0.0.1:{port}"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    if page.name not in TRAINS:
        shutil.copytree(models, "models")

    with ExitStack() as background:
        server: subprocess.Popen[str] | None = None
        for language, content in blocks(page, port):
            if language == "python":
                script = [sys.executable, "-c", content]
                printed = subprocess.run(script, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
                shown = "\n".join(re.findall(r"^print.*?  # (.*?)(?:, as .*)?$", content, re.MULTILINE))
                assert_like(printed, shown)
                continue
            for command, shown in commands(content):
                if command.endswith(" &"):
                    server = background.enter_context(
                        subprocess.Popen(shlex.split(command[:-2]), env=environment, stdout=subprocess.PIPE, text=True)
                    )
                    background.callback(server.kill)
                    assert server.stdout is not None
                    assert_like(server.stdout.readline(), shown)
                elif command == "kill %1":
                    assert server is not None
                    server.terminate()
                    assert server.wait(timeout=60) == 0
                else:
                    completed = subprocess.run(
                        command, shell=True, check=True, env=environment, stdout=subprocess.PIPE, text=True
                    )
                    assert_like(completed.stdout, shown)


def test_the_readme_opens_with_the_two_commands_that_do_all_the_set_up() -> None:
    first = README.read_text(encoding="utf-8").partition("```sh\n")[2].partition("```")[0]
    assert [line.partition("  #")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
