"""The repository: versions appear whole, stay as they are, and a damaged one is not served."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.model.checksums import CHECKSUMS, check_checksums, write_checksums
from digits.model.errors import RepositoryError
from digits.model.repository import CONFIG, GOLDEN, MANIFEST, STAGING, WITHDRAWN, Repository
from digits.model.triton import config_pbtxt

if TYPE_CHECKING:
    from collections.abc import Callable

# Publishes the version in a folder a number of times, in a process of its own; a line when it is about to begin.
PUBLISH = """
import shutil, sys
from pathlib import Path
from digits.model.repository import Repository

models, version, times = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(times)):
    repository = Repository(Path(models))
    with repository.staging() as staged:
        for file in Path(version).iterdir():
            shutil.copy(file, staged)
        print(repository.publish(staged).number, flush=True)
"""
# Stages a file, and waits.
STAGE = """
import sys
from pathlib import Path
from digits.model.repository import Repository

with Repository(Path(sys.argv[1])).staging() as staged:
    (staged / "model.onnx").write_bytes(b"half a mod")
    print(staged, flush=True)
    sys.stdin.readline()
"""

# Publishes, rolls back and prunes, and prints each rename that happens without the lock, and how many there were.
CHANGE = """
import fcntl, os, shutil, sys
from pathlib import Path
from digits.model.repository import Repository

repository = Repository(Path(sys.argv[1]))
renames = []

def check(event, arguments):
    if event != "os.rename" or Path(arguments[1]).parent != repository.folder:
        return
    renames.append(arguments[:2])
    descriptor = os.open(repository.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print(*arguments[:2])
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)

sys.addaudithook(check)
for _ in range(3):
    with repository.staging() as staged:
        for file in (repository.folder / "1").iterdir():
            shutil.copy(file, staged)
        repository.publish(staged)
repository.rollback()
repository.prune(keep=1)
print(len(renames))
"""


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A repository of this test's own, with one version."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def publish(repository: Repository, to: int, change: Callable[[Path], object] = lambda _: None) -> None:
    """Publishes version 1 again until that number is reached, changed by a function of the staged folder."""
    while repository.versions()[-1] < to:
        with repository.staging() as staged:
            for file in (repository.folder / "1").iterdir():
                shutil.copy(file, staged)
            change(staged)
            repository.publish(staged)


@pytest.fixture
def three(copy: Path) -> Repository:
    """With versions 1, 2 and 3."""
    repository = Repository(copy)
    publish(repository, 3)
    return repository


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def state(folder: Path) -> dict[str, bytes]:
    """Every file's content by its path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def flip(file: Path, position: int, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def test_an_empty_repository_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no model version; publish one with `digits export RUN`"):
        Repository(tmp_path).open()


def test_the_newest_version_is_opened_by_number_not_by_name(copy: Path) -> None:
    for version in (2, 10):
        shutil.copytree(copy / "digits" / "1", copy / "digits" / str(version))
    for name in (".staging-left-by-a-crash", "007", "latest"):
        (copy / "digits" / name).mkdir()
    (copy / "digits" / "99").touch()
    repository = Repository(copy)
    assert repository.versions() == [1, 2, 10]
    assert repository.open().number == 10
    assert repository.open(2).number == 2
    with pytest.raises(RepositoryError, match=r"no version 3; there are \[1, 2, 10\]"):
        repository.open(3)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "manifest.json"])
def test_a_flipped_byte_is_found(copy: Path, name: str) -> None:
    file = copy / "digits" / "1" / name
    flip(file, file.stat().st_size // 2, 0)
    with pytest.raises(RepositoryError, match=f"{name}: damaged"):
        Repository(copy).open()


@pytest.fixture(scope="module")
def flipped(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which bits are flipped, and flipped back."""
    return Path(shutil.copytree(models, tmp_path_factory.mktemp("flipped") / "models"))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_flipped_bit_anywhere_in_a_version_is_found(flipped: Path, draw: st.DataObject) -> None:
    file = draw.draw(st.sampled_from(sorted((flipped / "digits" / "1").iterdir())))
    position = draw.draw(st.integers(0, file.stat().st_size - 1))
    bit = draw.draw(st.integers(0, 7))
    flip(file, position, bit)
    try:
        with pytest.raises(RepositoryError) as error:
            Repository(flipped).open()
        assert "\n" not in str(error.value)
        assert str(file.parent) in str(error.value)
    finally:
        flip(file, position, bit)
    assert Repository(flipped).open().number == 1


def test_every_flipped_bit_of_the_sums_themselves_is_found(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    write_checksums(tmp_path)
    for position in range((tmp_path / CHECKSUMS).stat().st_size):
        for bit in range(8):
            flip(tmp_path / CHECKSUMS, position, bit)
            with pytest.raises(RepositoryError):
                check_checksums(tmp_path)
            flip(tmp_path / CHECKSUMS, position, bit)
    check_checksums(tmp_path)
    (tmp_path / CHECKSUMS).write_bytes((tmp_path / CHECKSUMS).read_bytes()[:-1])
    with pytest.raises(RepositoryError, match=f"{CHECKSUMS}: damaged; export it again"):
        check_checksums(tmp_path)


def test_the_sums_are_those_of_sha256sum(copy: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], check=False, cwd=copy / "digits" / "1")
    assert checked.returncode == 0


def test_a_missing_or_foreign_file_is_found(copy: Path) -> None:
    folder = copy / "digits" / "1"
    (folder / "notes.txt").touch()
    with pytest.raises(RepositoryError, match=r"notes\.txt was not published"):
        Repository(copy).open()
    (folder / "notes.txt").unlink()
    (folder / "golden.npz").unlink()
    with pytest.raises(RepositoryError, match=r"golden\.npz is missing"):
        Repository(copy).open()
    (folder / CHECKSUMS).unlink()
    with pytest.raises(RepositoryError, match=f"not a version's folder, or a damaged one .*{CHECKSUMS}"):
        Repository(copy).open()


def test_a_manifest_of_another_schema_is_refused(copy: Path) -> None:
    folder = copy / "digits" / "1"
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 99'))
    write_checksums(folder)
    with pytest.raises(RepositoryError, match="manifest schema 99; this program reads 2"):
        Repository(copy).open()
    manifest.write_text("[]")
    write_checksums(folder)
    with pytest.raises(RepositoryError, match="not a manifest"):
        Repository(copy).open()


def test_publishing_gives_the_next_number_and_readable_files(copy: Path) -> None:
    repository = Repository(copy)
    with repository.staging() as staging:
        for file in (copy / "digits" / "1").iterdir():
            shutil.copy(file, staging)
        published = repository.publish(Path(staging))
    assert published.number == 2
    assert repository.open().folder == published.folder
    assert published.folder.stat().st_mode & stat.S_IXUSR
    assert stat.S_IMODE(published.folder.stat().st_mode) == stat.S_IMODE((copy / "digits").stat().st_mode)


def test_what_is_staged_and_not_published_vanishes(copy: Path) -> None:
    repository = Repository(copy)

    def fail() -> None:
        with repository.staging() as staging:
            (Path(staging) / "model.onnx").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert entries(repository.folder) == {"1", CONFIG}


# Staging: what a killed export left


def test_an_abandoned_staging_folder_is_removed_by_the_next_export(copy: Path) -> None:
    repository = Repository(copy)
    abandoned = repository.folder / f"{STAGING}x"
    abandoned.mkdir()
    (abandoned / "model.onnx").touch()
    (repository.folder / f"{STAGING}{CONFIG}").touch()
    assert repository.versions() == [1]
    with repository.staging() as staged:
        assert entries(repository.folder) == {"1", CONFIG, staged.name}


def test_a_staging_folder_that_somebody_fills_stays(copy: Path) -> None:
    repository = Repository(copy)
    held = repository.folder / f"{STAGING}x"
    held.mkdir()
    (held / "model.onnx").touch()
    descriptor = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with repository.staging():
            assert entries(held) == {"model.onnx"}
    finally:
        os.close(descriptor)
    with repository.staging():
        assert not held.exists()


def test_another_process_fills_its_staging_folder_until_it_is_killed(copy: Path) -> None:
    repository = Repository(copy)
    command = [sys.executable, "-c", STAGE, str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        staged = Path(process.stdout.readline().rstrip())
        with repository.staging() as other:
            assert entries(staged) == {"model.onnx"}
            assert other != staged
        assert entries(staged) == {"model.onnx"}
        process.kill()
    assert entries(staged) == {"model.onnx"}
    with repository.staging():
        assert not staged.exists()


def test_processes_that_publish_at_once_get_a_whole_version_and_a_number_each(copy: Path) -> None:
    repository = Repository(copy)
    command = [sys.executable, "-c", PUBLISH, str(copy), str(copy / "digits" / "1"), "4"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    numbers = [int(line) for text in said for line in text.split()]
    assert sorted(numbers) == list(range(2, 10))
    assert repository.versions() == list(range(1, 10))
    manifests = [repository.open(number).manifest for number in repository.versions()]
    assert entries(repository.folder) == {CONFIG, *map(str, range(1, 10))}
    assert (repository.folder / CONFIG).read_text() == config_pbtxt(manifests[-1])


def test_whoever_changes_the_repository_does_so_alone(copy: Path) -> None:
    changed = subprocess.run([sys.executable, "-c", CHANGE, str(copy)], check=True, stdout=subprocess.PIPE, text=True)
    assert changed.stdout == "10\n"  # three versions appear, one is withdrawn, each with config.pbtxt; two are removed


# Rollback


def test_a_rollback_withdraws_the_newest_and_its_number_is_not_used_again(three: Repository) -> None:
    before = state(three.folder / "3")
    assert three.rollback().number == 2
    assert three.open().number == 2
    assert (three.versions(), three.withdrawn()) == ([1, 2], [3])
    assert state(three.folder / f"{WITHDRAWN}3") == before
    assert entries(three.folder) == {"1", "2", f"{WITHDRAWN}3", CONFIG}
    publish(three, 4)
    assert (three.versions(), three.withdrawn()) == ([1, 2, 4], [3])


def test_a_rollback_to_a_number_withdraws_all_above_it(three: Repository) -> None:
    publish(three, 4)
    assert three.rollback(2).number == 2
    assert (three.versions(), three.withdrawn()) == ([1, 2], [3, 4])
    assert three.rollback().number == 1
    assert (three.versions(), three.withdrawn()) == ([1], [2, 3, 4])
    publish(three, 5)
    assert three.versions() == [1, 5]
    assert three.rollback().number == 1
    assert three.withdrawn() == [2, 3, 4, 5]


def test_a_rollback_skips_numbers_that_are_missing(three: Repository) -> None:
    publish(three, 4)
    shutil.rmtree(three.folder / "3")
    assert three.rollback().number == 2
    assert three.withdrawn() == [4]


@pytest.mark.parametrize(
    ("to", "expected"),
    [(3, r"version 3 is the newest already; there are \[1, 2, 3\]"), (7, r"no version 7; there are \[1, 2, 3\]")],
)
def test_a_rollback_that_cannot_be_changes_nothing(three: Repository, to: int, expected: str) -> None:
    before = state(three.folder)
    with pytest.raises(RepositoryError, match=expected):
        three.rollback(to)
    assert state(three.folder) == before


@pytest.mark.parametrize("to", [None, 2])
def test_a_rollback_to_a_damaged_version_changes_nothing(three: Repository, to: int | None) -> None:
    flip(three.folder / "2" / GOLDEN, 1000, 3)
    before = state(three.folder)
    with pytest.raises(RepositoryError, match=rf"digits/2/{GOLDEN}: damaged"):
        three.rollback(to)
    assert state(three.folder) == before


def test_a_rollback_from_a_damaged_version_is_what_it_is_for(three: Repository) -> None:
    flip(three.folder / "3" / MANIFEST, 1000, 3)
    assert three.rollback().number == 2
    assert three.open().number == 2


def test_the_only_version_is_not_withdrawn(copy: Path, tmp_path: Path) -> None:
    repository = Repository(copy)
    with pytest.raises(RepositoryError, match=r"no earlier version to roll back to; there are \[1\]"):
        repository.rollback()
    assert entries(repository.folder) == {"1", CONFIG}
    with pytest.raises(RepositoryError, match="no model version; publish one"):
        Repository(tmp_path / "none").rollback()


def test_config_pbtxt_is_the_newest_versions_after_a_rollback(copy: Path) -> None:
    repository = Repository(copy)

    def rename(staged: Path) -> None:
        (staged / "model.onnx").rename(staged / "digits.onnx")
        manifest = staged / MANIFEST
        manifest.write_text(manifest.read_text().replace('"file": "model.onnx"', '"file": "digits.onnx"'))

    publish(repository, 2, rename)
    config = repository.folder / CONFIG
    assert 'default_model_filename: "digits.onnx"' in config.read_text()
    repository.rollback()
    assert 'default_model_filename: "model.onnx"' in config.read_text()
    assert config.read_text() == config_pbtxt(repository.open().manifest)


# Prune


def test_prune_keeps_the_newest(three: Repository) -> None:
    publish(three, 5)
    assert three.prune(keep=3) == [1, 2]
    assert entries(three.folder) == {"3", "4", "5", CONFIG}
    assert three.prune(keep=3) == []
    assert three.prune(keep=1) == [3, 4]
    assert three.prune(keep=1) == []
    assert three.open().number == 5


def test_prune_removes_what_was_withdrawn_and_replaced_but_not_what_may_come_back(three: Repository) -> None:
    three.rollback()
    assert three.prune(keep=2) == []
    assert three.withdrawn() == [3]
    publish(three, 5)  # 1, 2, 4, 5
    three.rollback()
    assert three.withdrawn() == [3, 5]
    assert three.prune(keep=2) == [1, 3]
    assert (three.versions(), three.withdrawn()) == ([2, 4], [5])
    assert entries(three.folder) == {"2", "4", f"{WITHDRAWN}5", CONFIG}


def test_prune_never_removes_the_last_version(three: Repository) -> None:
    before = state(three.folder)
    for keep in (0, -1):
        with pytest.raises(RepositoryError, match=f"--keep {keep}: the last version is never removed; say 1 or more"):
            three.prune(keep)
    assert state(three.folder) == before


def test_prune_removes_nothing_while_the_newest_is_damaged(three: Repository, tmp_path: Path) -> None:
    flip(three.folder / "3" / CHECKSUMS, 5, 0)
    before = state(three.folder)
    with pytest.raises(RepositoryError, match="damaged"):
        three.prune(keep=1)
    assert state(three.folder) == before
    with pytest.raises(RepositoryError, match="no model version; publish one"):
        Repository(tmp_path / "none").prune(keep=1)
