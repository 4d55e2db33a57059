"""The repository: versions appear complete, are never changed, and a damaged one is not served."""

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digits.model.checksums import CHECKSUMS, check_checksums, write_checksums
from digits.model.errors import RepositoryError
from digits.model.repository import BUNDLED, CONFIG, GOLDEN, MANIFEST, STAGING, WITHDRAWN, Repository
from digits.model.triton import config_pbtxt
from digits.storage.lock import locked

# For processes of their own: publishes a repository's newest version again.
PUBLISH = """
import shutil, sys
from pathlib import Path
from digits.model.repository import Repository

repository = Repository(Path(sys.argv[1]))
def publish():
    with repository.staging() as staged:
        for file in repository.open().folder.iterdir():
            shutil.copy(file, staged)
        return repository.publish(staged).number
"""
FOUR_TIMES = """
print("ready", flush=True)
sys.stdin.readline()
print(*(publish() for _ in range(4)))
"""
# Kills one publication after another, each in a fork, before a later one of its steps, until one survives. A step is
# what Python audits of the repository's files: to open, make, list, rename, change or remove one. Each version must
# then be whole, and the next publication must clean up. Prints each exit code, and whether the version had appeared.
KILLED = """
import os, signal
from digits.model.repository import CONFIG
from digits.model.triton import config_pbtxt

def killed(deadly):
    steps = 0
    def step(event, arguments):
        nonlocal steps
        if any(str(argument).startswith(str(repository.folder)) for argument in arguments):
            steps += 1
            if steps == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.addaudithook(step)
    publish()
    os._exit(0)

deadly, code = 1, None
while code != 0:
    before = repository.open().number
    code = killed(deadly)
    newest = repository.open()
    assert (repository.folder / CONFIG).read_text() == config_pbtxt(newest.manifest)
    assert publish() == newest.number + 1
    assert {entry.name for entry in repository.folder.iterdir()} == {CONFIG, *map(str, repository.versions())}
    print(code, newest.number - before)
    repository.prune(keep=1)
    deadly += 1
"""
# Publishes, rolls back and prunes, and prints each rename that happens without the lock, and how many there were.
CHANGE = """
import fcntl, os
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
    publish()
repository.rollback()
repository.prune(keep=1)
print(len(renames))
"""


def publish(repository: Repository, to: int, change: Callable[[Path], object] = lambda _: None) -> None:
    """Publishes version 1 again until that number is reached, changed by a function of the staged folder."""
    while repository.versions()[-1] < to:
        with repository.staging() as staged:
            for file in (repository.folder / "1").iterdir():
                shutil.copy(file, staged)
            change(staged)
            repository.publish(staged)


@pytest.fixture
def three(repository: Repository) -> Repository:
    """With versions 1, 2 and 3."""
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


# Opening


def test_an_empty_repository_says_how_to_fill_it(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "none")
    for use in (repository.open, repository.rollback, lambda: repository.prune(keep=1)):
        with pytest.raises(RepositoryError, match="no model version; publish one with `digits export RUN`"):
            use()


def test_the_newest_version_is_opened_by_number_not_by_name(repository: Repository) -> None:
    for version in (2, 10):
        shutil.copytree(repository.folder / "1", repository.folder / str(version))
    for name in (".staging-of-a-killed-export", "007", "latest"):
        (repository.folder / name).mkdir()
    (repository.folder / "99").touch()
    assert repository.versions() == [1, 2, 10]
    assert repository.open().number == 10
    assert repository.open(2).number == 2
    with pytest.raises(RepositoryError, match=r"no version 3; there are \[1, 2, 10\]"):
        repository.open(3)


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which bits are flipped, and flipped back."""
    return Repository(Path(shutil.copytree(BUNDLED, tmp_path_factory.mktemp("flipped") / "models")))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_flipped_bit_anywhere_in_a_version_is_found(flipped: Repository, draw: st.DataObject) -> None:
    file = draw.draw(st.sampled_from(sorted(flipped.open().folder.iterdir())))
    position = draw.draw(st.integers(0, file.stat().st_size - 1))
    bit = draw.draw(st.integers(0, 7))
    flip(file, position, bit)
    try:
        with pytest.raises(RepositoryError) as error:
            flipped.open()
        assert "\n" not in str(error.value)
        assert str(file.parent) in str(error.value)
        assert file.name == CHECKSUMS or str(error.value).startswith(f"{file}: damaged")
    finally:
        flip(file, position, bit)
    flipped.open()


def test_every_flipped_bit_of_the_checksums_themselves_is_found(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    write_checksums(tmp_path)
    whole = (tmp_path / CHECKSUMS).read_bytes()
    for position, bit in product(range(len(whole)), range(8)):
        flip(tmp_path / CHECKSUMS, position, bit)
        with pytest.raises(RepositoryError):
            check_checksums(tmp_path)
        flip(tmp_path / CHECKSUMS, position, bit)
    check_checksums(tmp_path)
    (tmp_path / CHECKSUMS).write_bytes(whole[:-1])
    with pytest.raises(RepositoryError, match=f"{CHECKSUMS}: damaged; export it again"):
        check_checksums(tmp_path)


def test_sha256sum_accepts_the_checksums_and_a_missing_or_unknown_file_is_found(
    repository: Repository, version: Path
) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS], check=True, cwd=version, stdout=subprocess.DEVNULL)
    (version / "notes.txt").touch()
    with pytest.raises(RepositoryError, match=r"notes\.txt was not published"):
        repository.open()
    (version / "notes.txt").unlink()
    (version / GOLDEN).unlink()
    with pytest.raises(RepositoryError, match=f"{GOLDEN} is missing"):
        repository.open()
    (version / CHECKSUMS).unlink()
    with pytest.raises(RepositoryError, match=f"not a version's folder, or a damaged one .*{CHECKSUMS}"):
        repository.open()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda fields: fields.update(schema=99), "manifest schema 99; this program reads 2"),
        (lambda fields: fields.pop("created"), "not a manifest .*created"),
        (lambda fields: fields["variants"].pop("fp32"), "not a manifest .*expected a variant fp32"),
        (lambda fields: fields.update(limits=None), "not a manifest .*expected an object for limits"),
        (
            lambda fields: fields["variants"]["int8"].update(size_bytes="1"),
            r"not a manifest .*expected a number for variants\.int8\.size_bytes",
        ),
        (lambda fields: fields["variants"]["int8"].update(file="../x"), "not a manifest .* is not in the version's"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_its_field(
    repository: Repository, version: Path, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    fields = json.loads((version / MANIFEST).read_text())
    change(fields)
    (version / MANIFEST).write_text(json.dumps(fields))
    write_checksums(version)
    with pytest.raises(RepositoryError, match=expected):
        repository.open()


# Publishing


def test_a_version_that_is_staged_vanishes_or_gets_the_next_number_and_readable_files(repository: Repository) -> None:
    with suppress(KeyboardInterrupt), repository.staging() as staged:
        (staged / "model.onnx").touch()
        raise KeyboardInterrupt
    assert entries(repository.folder) == {"1", CONFIG}
    publish(repository, 2)
    published = repository.open()
    assert published.number == 2
    assert stat.S_IMODE(published.folder.stat().st_mode) == stat.S_IMODE(repository.folder.stat().st_mode)


def test_an_abandoned_staging_folder_is_removed_by_the_next_export(repository: Repository) -> None:
    """Unless an export holds its lock and still fills it."""
    abandoned, held = (repository.folder / f"{STAGING}{name}" for name in "xy")
    for folder in (abandoned, held):
        folder.mkdir()
        (folder / "model.onnx").touch()
    assert repository.versions() == [1]
    with locked(held, wait=False), repository.staging() as staged:
        assert entries(repository.folder) == {"1", CONFIG, held.name, staged.name}
        assert entries(held) == {"model.onnx"}
    with repository.staging():
        assert not held.exists()


def test_processes_that_publish_at_once_get_a_whole_version_and_a_number_each(repository: Repository) -> None:
    command = [sys.executable, "-c", PUBLISH + FOUR_TIMES, str(repository.folder.parent)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        print(file=process.stdin, flush=True)
    numbers = [int(number) for process in processes for number in process.communicate()[0].split()]
    assert sorted(numbers) == list(range(2, 10))
    assert repository.versions() == list(range(1, 10))
    assert entries(repository.folder) == {CONFIG, *map(str, range(1, 10))}
    manifests = [repository.open(number).manifest for number in repository.versions()]
    assert (repository.folder / CONFIG).read_text() == config_pbtxt(manifests[-1])


def test_a_publication_that_is_killed_at_any_step_leaves_no_half_version(repository: Repository) -> None:
    command = [sys.executable, "-c", PUBLISH + KILLED, str(repository.folder.parent)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    assert ended == sorted(ended, key=["-9 0", "-9 1", "0 1"].index)
    assert ended.count("-9 0") > 30
    assert ended[-1] == "0 1"


def test_only_one_process_at_once_changes_the_repository(repository: Repository) -> None:
    command = [sys.executable, "-c", PUBLISH + CHANGE, str(repository.folder.parent)]
    changed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert changed.stdout == "10\n"  # three versions appear, one is withdrawn, each with config.pbtxt; two are removed


# Rollback


def test_a_rollback_withdraws_all_above_and_their_numbers_are_not_used_again(three: Repository) -> None:
    before = state(three.folder / "3")
    assert three.rollback().number == three.open().number == 2
    assert (three.versions(), three.withdrawn()) == ([1, 2], [3])
    assert state(three.folder / f"{WITHDRAWN}3") == before
    assert entries(three.folder) == {"1", "2", f"{WITHDRAWN}3", CONFIG}
    publish(three, 5)
    assert (three.versions(), three.withdrawn()) == ([1, 2, 4, 5], [3])
    assert three.rollback(2).number == 2
    assert (three.versions(), three.withdrawn()) == ([1, 2], [3, 4, 5])
    assert three.rollback().number == 1
    assert (three.versions(), three.withdrawn()) == ([1], [2, 3, 4, 5])
    with pytest.raises(RepositoryError, match=r"no earlier version to roll back to; there are \[1\]"):
        three.rollback()


@pytest.mark.parametrize(
    ("damaged", "change", "expected"),
    [
        ("", lambda three: three.rollback(3), r"version 3 is the newest already; there are \[1, 2, 3\]"),
        ("", lambda three: three.rollback(7), r"no version 7; there are \[1, 2, 3\]"),
        (f"2/{GOLDEN}", lambda three: three.rollback(), rf"digits/2/{GOLDEN}: damaged"),
        ("", lambda three: three.prune(0), "--keep 0: the last version is never removed; say 1 or more"),
        (f"3/{CHECKSUMS}", lambda three: three.prune(1), "damaged"),
    ],
)
def test_an_impossible_rollback_or_prune_changes_nothing(
    three: Repository, damaged: str, change: Callable[[Repository], object], expected: str
) -> None:
    if damaged:
        flip(three.folder / damaged, 5, 0)
    before = state(three.folder)
    with pytest.raises(RepositoryError, match=expected):
        change(three)
    assert state(three.folder) == before


def test_a_rollback_from_a_damaged_version_works_and_skips_missing_numbers(three: Repository) -> None:
    publish(three, 4)
    flip(three.folder / "4" / MANIFEST, 1000, 3)
    shutil.rmtree(three.folder / "3")
    assert three.rollback().number == 2
    assert (three.open().number, three.withdrawn()) == (2, [4])


def test_config_pbtxt_is_the_newest_versions_after_a_rollback(repository: Repository) -> None:
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
    assert three.prune(keep=2) == [1]
    assert entries(three.folder) == {"2", "3", CONFIG}
    assert [three.prune(keep=keep) for keep in (2, 1, 1)] == [[], [2], []]
    assert three.open().number == 3


def test_prune_removes_withdrawn_versions_below_the_newest_only(three: Repository) -> None:
    three.rollback()
    assert three.prune(keep=2) == []
    assert three.withdrawn() == [3]
    publish(three, 5)  # 1, 2, 4, 5
    three.rollback()
    assert three.withdrawn() == [3, 5]
    assert three.prune(keep=2) == [1, 3]
    assert (three.versions(), three.withdrawn()) == ([2, 4], [5])
    assert entries(three.folder) == {"2", "4", f"{WITHDRAWN}5", CONFIG}
