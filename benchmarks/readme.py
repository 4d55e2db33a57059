"""README.md's sentence on throughput, rendered from results/server.json.

`python -m digits.benchmarks.readme` puts it into README.md, between the two marks.
"""

import json
from textwrap import fill

from digits.benchmarks.measurement import HERE, RESULTS
from digits.benchmarks.section import TEMPLATES, median_of, repeats_of
from digits.report.page import render

README = HERE.parent / "README.md"
BEGIN, END = "<!-- begin: throughput, by benchmarks/readme.py -->\n", "<!-- end -->\n"


def rendered() -> str:
    """The sentence, as Markdown."""
    result = json.loads((RESULTS / "server.json").read_text(encoding="utf-8"))

    def rate(system: str) -> float:
        return median_of(repeats_of(result["measurements"], system, images=1, connections=64), "calls_per_second")

    sentence = render(TEMPLATES / "readme.md.jinja", machine=result["machine"], rate=rate)
    return fill(sentence, 120, break_on_hyphens=False) + "\n"


def put(readme: str) -> str:
    """The README with the sentence in its place."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + rendered() + END + rest.partition(END)[2]


if __name__ == "__main__":
    README.write_text(put(README.read_text(encoding="utf-8")), encoding="utf-8")
