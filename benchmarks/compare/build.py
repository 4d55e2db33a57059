"""Another build of digits: a wheel, a checkout or an installation, served with the libraries of this Python."""

import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.measure import ServerUnderTest
from digits.benchmarks.process import environment, started
from digits.benchmarks.servers import SERVING, free_address

ENTRY = Path("cli", "app.py")  # that every build has
# Prints the files of all modules of digits that serving imports.
PROBE = """
import sys
import digits.cli.app, digits.cli.serve, digits.serve.server
for name, module in sys.modules.items():
    if name.startswith("digits.") and module.__file__:
        print(module.__file__)
"""
PYTHON = (sys.executable, "-P")  # -P: imports nothing from the working directory


@dataclass(frozen=True, slots=True)
class Build:
    """A build, in a folder from which Python can import it."""

    path: Path  # as it was given
    root: Path  # the folder that contains `digits`

    @property
    def environment(self) -> dict[str, str]:
        """With which Python imports this build, whatever else is installed."""
        before = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": f"{self.root}{os.pathsep}{before}" if before else str(self.root)}

    def require_own_code(self) -> None:
        """Raises BenchmarkError if it cannot be imported, or if any module of digits is imported from elsewhere."""
        command = [*PYTHON, "-c", PROBE]
        within = environment() | self.environment
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=within)  # noqa: S603 our own
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
            raise BenchmarkError(f"{self.path}: cannot be imported: {said}")
        for file in done.stdout.splitlines():
            if not Path(file).is_relative_to(self.root):
                raise BenchmarkError(f"{self.path}: lacks a module; {file} of another build would be measured")


@contextmanager
def opened(path: Path) -> Iterator[Build]:
    """A build that can be served as long as the context lasts.

    Args:
        path: A wheel, a checkout, whose root folders are the packages, or a folder that contains `digits`.

    Raises:
        BenchmarkError: it is something else, is damaged, or Python would import another digits.
    """
    with tempfile.TemporaryDirectory(prefix="digits-build-") as temporary:
        build = Build(path, _root(path, Path(temporary)))
        build.require_own_code()
        yield build


@contextmanager
def serving(name: str, build: Build) -> Iterator[ServerUnderTest]:
    """Serves the build's bundled model on a free port. Raises BenchmarkError if it does not start."""
    address = free_address()
    command = [*PYTHON, "-m", "digits.cli.app", "serve", "--address", address]
    more = build.environment | {"DIGITS_LAME_DUCK": "0"}  # an older build may lack the option; it warns of a variable
    with ExitStack() as stack:
        try:
            process = stack.enter_context(started(command, SERVING, more))
        except BenchmarkError as error:
            raise BenchmarkError(f"{build.path}: does not serve: {error}") from error
        print(f"{name}: {build.path}: ready in {process.ready_seconds:.2f} s", flush=True)
        yield ServerUnderTest(name, address, process)


def _root(path: Path, temporary: Path) -> Path:
    """The folder that contains `digits`, made in the temporary one unless it exists."""
    if (path / "digits" / ENTRY).is_file():
        return path.absolute()
    if (path / ENTRY).is_file():
        (temporary / "digits").symlink_to(path.absolute())
        return temporary
    if path.is_dir():
        lacking = f"neither digits/{ENTRY} nor {ENTRY}"
        raise BenchmarkError(f"{path}: not a build: it has {lacking}; give a wheel or a checkout")
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(temporary)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise BenchmarkError(f"{path}: cannot be read as a wheel ({why}); give a wheel, or a checkout") from error
    if not (temporary / "digits" / ENTRY).is_file():
        raise BenchmarkError(f"{path}: a wheel of another package: it has no digits/{ENTRY}")
    return temporary
