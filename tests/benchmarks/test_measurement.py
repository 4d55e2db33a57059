"""What a benchmark has measured is written whatever ends it, or kept elsewhere if it cannot be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.measurement import measuring

ROW = {"subject": "echo", "load": {}, "repeats": []}


def test_what_cannot_be_written_in_the_end_is_kept_elsewhere(tmp_path: Path) -> None:
    """The place turns into a folder meanwhile: the error of a full disk comes the same way."""
    out = tmp_path / "server.json"
    with (  # noqa: PT012 it is raised by the exit
        pytest.raises(BenchmarkError, match=r"server\.json: cannot be written") as caught,
        measuring({"benchmark": "server"}, out) as measurements,
    ):
        measurements.append(ROW)
        out.mkdir()
    found = re.search(r"what was measured is in (\S+)$", str(caught.value))
    assert found is not None
    assert json.loads(Path(found[1]).read_text())["measurements"] == [ROW]
    assert list(tmp_path.iterdir()) == [out]


def test_an_end_too_early_never_replaces_what_was_whole(tmp_path: Path) -> None:
    out = tmp_path / "server.json"
    with measuring({"benchmark": "server", "complete": True}, out) as measurements:
        measurements.append(ROW)
    whole = out.read_text()
    with pytest.raises(KeyboardInterrupt), measuring({"benchmark": "server"}, out) as measurements:  # noqa: PT012 as Ctrl-C
        measurements.append(ROW)
        raise KeyboardInterrupt
    assert out.read_text() == whole
    assert json.loads((tmp_path / "server.partial.json").read_text())["ended_by"] == "KeyboardInterrupt"
    with measuring({"benchmark": "server"}, out) as measurements:
        measurements.append(ROW)
    assert list(tmp_path.iterdir()) == [out]
