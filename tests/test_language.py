"""Plain English: no tracked text file has a phrase that is wrong in every sense. CHANGELOG.md quotes old names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KINDS = {".py", ".md", ".toml", ".proto", ".html", ".jinja", ".yml", ".yaml", ".js", ".sh"}
GENERATED = ("protos/", "benchmarks/results/")
REPLACEMENTS = {
    r"the model in the box": "the bundled model",
    r"held against": "compared with",
    r"\b(field|list|name|number|object|string|table|target|value) is (?-i:none)\b": "expected a number for FIELD",
    r"\blest\b": "so that ... not",
    r"\bfor ever\b": "indefinitely",
    r"to be had\b": "available",
    r"cry(ing)? wolf": "false alarm",
    r"made anew": "rebuilt",
    r"what really runs": "the provider and precision in use",
    r"is no one's": "belongs to no one",
    r"as it has to be": "as required",
    r"kept still": "paused",
    r"whatever ends it": "however it is interrupted",
    r"a promise kept|keeps? (a|its) promise": "service level objective",
    r"the duel\b": "head-to-head",
    r"foreign model": "imported ONNX model",
    r"\bnothing but\b": "only",
    r"\bwhoever\b": "anyone who",
    r"answers as it did": "passes its self-test against the golden set",
    r"said to be so": "rejected with a reason",
}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [name for name in listed.split("\0") if name and not name.startswith(GENERATED)]
    found = [ROOT / name for name in files if Path(name).suffix in KINDS or Path(name).name == "Makefile"]
    return [file for file in found if file.name not in {"CHANGELOG.md", Path(__file__).name} and file.is_file()]


@pytest.mark.parametrize(("phrase", "replacement"), REPLACEMENTS.items())
def test_no_file_has_the_phrase(phrase: str, replacement: str) -> None:
    pattern = re.compile(phrase.replace(" ", r"\s+"), re.IGNORECASE)
    hits = []
    for file in tracked():
        text = file.read_text(encoding="utf-8")
        for hit in pattern.finditer(text):
            line = text.count("\n", 0, hit.start()) + 1
            hits.append(f"{file.relative_to(ROOT)}:{line}: {hit[0]!r}: say {replacement!r}")
    assert not hits, "\n".join(hits)
