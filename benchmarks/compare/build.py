"""A build of digits beside this one: a wheel, a checkout or an installation, served with this Python's libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.process import environment, started
from digits.benchmarks.servers import SERVING, free_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from digits.benchmarks.process import ServerProcess

ENTRY = Path("cli", "app.py")  # what every build has
# Prints the files of all of digits that serving imports.
PROBE = """
import sys
import digits.cli.app, digits.cli.serve, digits.serve.server
for name, module in sys.modules.items():
    if name.startswith("digits.") and module.__file__:
        print(module.__file__)
"""
PYTHON = (sys.executable, "-P")  # -P: the folder that we stand in is no place to import from


@dataclass(frozen=True, slots=True)
class Build:
    """A build, laid out so that Python finds it.

    Attributes:
        path: As it was given.
        root: The folder that holds `digits`.
    """

    path: Path
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """In which Python imports this build, whatever is installed beside it."""
        before = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": f"{self.root}{os.pathsep}{before}" if before else str(self.root)}

    def require_own_code(self) -> None:
        """Raises BenchmarkError if it cannot be imported, or if any module of digits comes from elsewhere."""
        command = [*PYTHON, "-c", PROBE]
        within = environment() | self.environment
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=within)  # noqa: S603 our own
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise BenchmarkError(f"{self.path}: cannot be imported: {said}")
        for file in done.stdout.splitlines():
            if not Path(file).is_relative_to(self.root):
                raise BenchmarkError(
                    f"{self.path}: what would be measured is {file}, which is not of this build: the build lacks it"
                )


@contextmanager
def opened(path: Path) -> Iterator[Build]:
    """Lays out a build for as long as the context lasts.

    Args:
        path: A wheel, a checkout, whose root folders are the packages, or a folder that holds `digits`.

    Raises:
        BenchmarkError: it is none of these, is damaged, or Python would import another digits than this one.
    """
    with tempfile.TemporaryDirectory(prefix="digits-build-") as temporary:
        build = Build(path, _root(path, Path(temporary)))
        build.require_own_code()
        yield build


@contextmanager
def serving(build: Build) -> Iterator[ServerProcess]:
    """Serves the model in the build's box on a free port of this host. Raises BenchmarkError if it does not start."""
    address = free_address()
    command = [*PYTHON, "-m", "digits.cli.app", "serve", "--address", address]
    with ExitStack() as stack:
        try:  # by variables, since an older build may lack the option, and only warns of a variable
            more = build.environment | {"DIGITS_LAME_DUCK": "0"}
            process = stack.enter_context(started(command, address, SERVING, more))
        except BenchmarkError as error:
            raise BenchmarkError(f"{build.path}: does not serve: {error}") from error
        yield process


def _root(path: Path, temporary: Path) -> Path:
    """The folder that holds `digits`, made in the temporary one unless it is there already."""
    if (path / "digits" / ENTRY).is_file():
        return path.absolute()
    if (path / ENTRY).is_file():
        (temporary / "digits").symlink_to(path.absolute())
        return temporary
    if path.is_dir():
        raise BenchmarkError(f"{path}: no build: it has neither digits/{ENTRY} nor {ENTRY}; give a wheel or a checkout")
    _unzip(path, temporary)
    return temporary


def _unzip(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise BenchmarkError(f"{wheel}: cannot be read as a wheel ({why}); give a wheel, or a checkout") from error
    if not (folder / "digits" / ENTRY).is_file():
        raise BenchmarkError(f"{wheel}: a wheel of something else: it holds no digits/{ENTRY}")
