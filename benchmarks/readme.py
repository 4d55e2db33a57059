"""README.md's sentence on throughput, rendered from results/server.json.

`python -m digits.benchmarks.readme` puts it into README.md, between the two marks.
"""

import json
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- begin: throughput, by benchmarks/readme.py -->\n", "<!-- end -->\n"
CONNECTIONS = 64


def rendered() -> str:
    """The sentence, as Markdown."""
    result: dict[str, Any] = json.loads((RESULTS / "server.json").read_text(encoding="utf-8"))
    rates = {
        row["system"]: median(one["calls_per_second"] for one in row["repeats"])
        for row in result["measurements"]
        if (row["load"]["images"], row["load"]["connections"]) == (1, CONNECTIONS)
    }
    machine = result["machine"]
    sentence = (
        f"One server process and its callers on the same {machine['cores']} cores of {machine['cpu']}: "
        f"{rates['digits, native']:,.0f} calls a second over {CONNECTIONS} connections, one image a call, and "
        f"{rates['digits, grpcio']:,.0f} with `--transport grpcio`. In the figure, `echo` is the same "
        f"HTTP/2 frontend without a model: it returns each message, and is the upper limit (`digits bench server`)."
    )
    return fill(sentence, 120, break_on_hyphens=False) + "\n"


def put(readme: str) -> str:
    """The README with the sentence in its place."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + rendered() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(put(README.read_text(encoding="utf-8")), encoding="utf-8")
