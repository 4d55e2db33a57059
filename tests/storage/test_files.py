"""Files are replaced whole or not at all; locks, checksums and JSON follow the system's tools and standards."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from digits.storage.atomic_file import replacing, unfinished, write_bytes
from digits.storage.checksums import file_sha256, sha256_list
from digits.storage.json_file import write_json
from digits.storage.lock import locked


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """When its new content is complete; an error or interrupt keeps the old one and leaves nothing behind."""
    file = tmp_path / "file"
    write_bytes(file, b"old")
    for raised in (ValueError, KeyboardInterrupt):
        with pytest.raises(raised), replacing(file) as temporary:  # noqa: PT012 the block is what fails
            temporary.write_bytes(b"half")
            raise raised
        assert not unfinished(file).exists()
    with replacing(file) as temporary:
        temporary.write_bytes(b"new")
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    with pytest.raises(FileNotFoundError) as error:
        write_bytes(tmp_path / "missing" / "file", b"")
    assert error.value.filename == str(tmp_path / "missing" / "file")


def test_a_lock_is_held_by_one_process_until_it_ends(tmp_path: Path) -> None:
    hold = "import sys; from pathlib import Path; from digits.storage.lock import locked\n"
    hold += "with locked(Path(sys.argv[1]), wait=False): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), locked(tmp_path, wait=False):
            pass
        process.kill()
    with locked(tmp_path, wait=False):
        pass


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("b", "a")}
    for name, path in files.items():
        path.write_text(name)
    said = subprocess.run(["sha256sum", "a", "b"], cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout
    assert sha256_list(files) == said
    assert said.decode().startswith(file_sha256(tmp_path / "a"))
    (tmp_path / "c").mkdir()
    assert sha256_list({"c": tmp_path / "c"}) == b"-  c\n"


def test_json_has_null_for_a_number_that_is_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"a": [1.5, math.nan], "b": {"c": math.inf}, "d": Path("x")})
    assert json.loads((tmp_path / "file.json").read_text()) == {"a": [1.5, None], "b": {"c": None}, "d": "x"}
