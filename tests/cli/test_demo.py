"""`digits demo`: the whole way, and nothing of it left running."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


def test_the_demo_shows_every_stage_and_stops_its_server(
    digits: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "digits.toml").write_text("[train]\nepochs = 5\n")  # which the demo's commands read
    completed = digits("demo", "--data", "embedded", "--pictures", 50, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    printed = completed.stdout
    stages = (
        "== train ==",
        "== export ==",
        "== serve, classify and score ==",
        "what the model sees",
        "status      50 ok",
    )
    for part in (*stages, "parity:   max |dp| ", "fp32:     9", "files:    demo/run"):
        assert part in printed
    assert "of 1,000 test images (embedded subset" in printed
    right = re.search(r"accuracy .*: (\d+) of 50 labelled digits", printed)
    assert int(right[1] if right else 0) >= 40
    assert "draining" in completed.stderr
    assert len(list((tmp_path / "demo" / "pictures").rglob("*.png"))) == 50
    assert {"table.csv", "least-certain.png"} <= {file.name for file in (tmp_path / "demo").iterdir()}
