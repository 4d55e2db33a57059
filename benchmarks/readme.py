"""What README.md says of measurements, rendered from the JSON files beside this one.

`python -m digits.benchmarks.readme` puts it into README.md, between the two marks.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from digits.train.evaluation import percent

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- begin: measured, see benchmarks/readme.py -->\n", "<!-- end -->\n"
MNIST_TEST = 10_000
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
    if measured["test"]["images"] != MNIST_TEST:
        raise ValueError(f"recipes.json is of {measured['test']['images']:,} test images, which is not all of MNIST")
    lines = [
        f"| recipe | test accuracy of {measured['test']['images']:,} images, seeds 0, 1, 2 | mean | a training takes |",
        "| --- | --- | --- | --- |",
    ]
    for recipe in ("lesson", "best"):
        rows = [row for row in measured["rows"] if row["run"].startswith(f"{recipe}-")]
        accuracies = ", ".join(percent(row["test_accuracy"]) for row in rows)
        average = percent(mean(row["test_accuracy"] for row in rows))
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
        f"accuracy {percent(ours)} against {percent(plain)}):\n"
        f"`{measured['command']}`.\n"
    )


if __name__ == "__main__":
    README.write_text(put(README.read_text(encoding="utf-8")), encoding="utf-8")
