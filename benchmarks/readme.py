"""What README.md says of measurements, rendered from the JSON files beside this one.

`python -m digits.benchmarks.readme` puts it into README.md, between the two marks.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- begin: measured, see benchmarks/readme.py -->\n", "<!-- end -->\n"
ACCURACY = "digits train", "model.fit"


def rendered() -> str:
    """The text between the marks."""
    return _recipes(_read("recipes.json")) + "\n" + _training(_read("training.json"))


def put(readme: str) -> str:
    """The README with what is rendered in its place."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + rendered() + END + after


def _read(name: str) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return measured


def _recipes(measured: dict[str, Any]) -> str:
    lines = [
        f"| recipe | test accuracy of {measured['test']['images']:,} images, seeds 0, 1, 2 | mean | a training takes |",
        "| --- | --- | --- | --- |",
    ]
    for recipe in ("lesson", "best"):
        rows = [row for row in measured["rows"] if row["run"].startswith(f"{recipe}-")]
        accuracies = ", ".join(_percent(row["test_accuracy"]) for row in rows)
        average = _percent(mean(row["test_accuracy"] for row in rows))
        longest = max(row["training_seconds"] for row in rows)
        time = f"{longest:.0f} s" if longest < 120 else f"{longest / 60:.0f} min"  # noqa: PLR2004 seconds
        lines.append(f"| `{recipe}` | {accuracies} | {average} | {time} |")
    return "\n".join(lines) + "\n"


def _training(measured: dict[str, Any]) -> str:
    ours, plain = (measured["mean_test_accuracy"][name] for name in ACCURACY)
    return (
        f"`digits train` takes the same data through the same network {measured['median_ratio']:.1f} times as fast as "
        f"plain `model.fit`\n"
        f"(median of {len(measured['pairs'])} pairs of {measured['settings']['epochs']} epochs, in turn; mean test "
        f"accuracy {_percent(ours)} against {_percent(plain)}):\n"
        f"`{measured['command']}`.\n"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


if __name__ == "__main__":
    README.write_text(put(README.read_text(encoding="utf-8")), encoding="utf-8")
