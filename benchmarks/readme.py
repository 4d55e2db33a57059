"""What README.md says of measurements, rendered from the JSON files beside this one.

`python -m digits.benchmarks.readme` puts it into README.md, between the two marks.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

from digits.benchmarks.report.summary import in_sentences
from digits.report.number_format import percent

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
END = "<!-- end -->\n"
MNIST_TEST = 10_000
ACCURACY = "digits train", "model.fit"
RATE, IMAGES = "rate over grpc.aio's, {} connections", "images over those in process, 64 a call, 4 connections"
LOADS = {
    "1 connection": "Classify, 1 connection",
    "16 connections": "Classify, 16 connections",
    "64 connections": "Classify, 64 connections",
}
PAIRED = ("1 connection", "16 connections", "64 connections", "64 images, 4 connections")  # of the peers' loads
SERVED = {
    "ours": "digits",
    "grpcio": "digits, `--transport grpcio`",
    "echo": "echo",
    "baseline": "grpc.aio and ONNX Runtime, fp32",
}
SHOWN = {"fp32": "fp32", "int8": "int8", "OpenVINO": "OpenVINO, fp32", "Keras predict": "Keras `predict`"}


def rendered() -> dict[str, str]:
    """The text between the marks, by what the first of them says."""
    return {
        "exported": _export(_read("export.json")),
        "measured": in_sentences(_read("parity.json"), _read("engine.json"), _read("server.json")),
        "scored": _score(_read("score.json")),
        "served": _server(_read("peers.json")),
        "trained": _recipes(_read("recipes.json")) + "\n" + _training(_read("training.json")),
    }


def put(readme: str) -> str:
    """The README with what is rendered in its places."""
    for name, text in rendered().items():
        begin = f"<!-- begin: {name}, see benchmarks/readme.py -->\n"
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(END)
        readme = before + begin + text + END + after
    return readme


def _export(measured: dict[str, Any]) -> str:
    """The model of the best recipe, every way there is to run it, and the lesson's int8 in a sentence."""
    models = {model["recipe"]: model for model in measured["models"]}
    if measured["data"]["test"] != MNIST_TEST:
        raise ValueError(f"export.json is of {measured['data']['test']:,} test images, which is not all of MNIST")
    best = models["best"]
    lines = [
        "| one thread | digits as Keras's | accuracy | us for 1 image | us an image of 64 | times as fast as fp32 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, shown in SHOWN.items():
        if name not in best["times"]:
            continue
        one, many = best["times"][name]["1"], best["times"][name]["64"]
        variant = best["variants"].get(name)
        same = f"{round(variant['argmax_agreement'] * MNIST_TEST):,} of {MNIST_TEST:,}" if variant else ""
        accuracy = percent(variant["accuracy"]) if variant else ""
        times = " and ".join(_times(measure["times_as_fast"]) for measure in (one, many))
        microseconds = f"{one['microseconds_per_image']:,.0f} | {many['microseconds_per_image']:,.1f}"
        lines.append(f"| {shown} | {same} | {accuracy} | {microseconds} | {times} |")
    lesson = models["lesson"]
    flips = MNIST_TEST - round(lesson["variants"]["int8"]["argmax_agreement"] * MNIST_TEST)
    one, many = (lesson["times"]["int8"][size]["times_as_fast"] for size in ("1", "64"))
    machine, rounds = measured["machine"], measured["settings"]["rounds"]
    command = measured["command"].replace("export", "export RUN...", 1)
    where = f"on one of {machine['cores']} cores of {machine['cpu']}, medians of {rounds} rounds in turn"
    lesson_speed = f"The lesson's int8 is {_times(one)} and {_times(many)} times as fast as its fp32"
    lines += [
        "",
        f"That is the model of `--recipe best`, {where}.",
        f"{lesson_speed}, and takes {flips} of {MNIST_TEST:,} images for another digit.",
        "OpenVINO hands each call over to a thread of its own, which a single image feels most.",
        f"`{command}`.",
    ]
    return "\n".join(lines) + "\n"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"


def _read(name: str) -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return measured


def _server(measured: dict[str, Any]) -> str:
    """Calls a second by server, and how many of ours there are for each of a peer's."""
    lines = [f"| {' | '.join(['calls a second', *LOADS])} | CPU us a call |", "| --- " * (len(LOADS) + 2) + "|"]
    for server, shown in SERVED.items():
        found = [measured["medians"][cell].get(server) for cell in LOADS.values()]
        rates = [f"{one['calls_per_second']:,.0f}" if one else "" for one in found]
        cpu = next(one["cpu_microseconds"] for one in reversed(found) if one)
        lines.append(f"| {' | '.join([shown, *rates])} | {cpu:,.0f} |")
    reached = {line["what"]: line["value"] for line in measured["acceptance"]}
    many = measured["medians"]["Classify of 64 images, 4 connections"]["ours"]["images_per_second"]
    return "\n".join(lines) + (
        f"\n\nOne worker beside its callers on the 2 cores of {measured['machine']['cpu']}, with "
        f"{measured['model']['variant']}; medians of {len(measured['rounds'])} rounds in turn.\nThe echo is the front "
        f"alone, giving each message back: what any server behind it can reach. Within one round, digits\nanswers "
        f"{reached[RATE.format(16)]:.1f} times (16 connections) and {reached[RATE.format(64)]:.1f} times (64) as many "
        f"calls as grpc.aio, and with 64 images a call {many:,.0f}\nimages a second, {reached[IMAGES]:.0%} of what the "
        f"model does in process. And beside others, each as its own documentation has it, with\nthe same ONNX file:\n\n"
        f"{_peers(measured['peers'])}\n`make bench-peers`; [benchmarks/README.md](benchmarks/README.md) has the rest.\n"
    )


def _peers(peers: list[dict[str, Any]]) -> str:
    lines = [f"| digits' calls for each of | {' | '.join(PAIRED)} |", "| --- " * (len(PAIRED) + 1) + "|"]
    for peer in peers:
        ratios = [load["ratio"] for load in peer["loads"][: len(PAIRED)]] or [None] * len(PAIRED)
        lines.append(f"| {peer['title']} | {' | '.join(f'{ratio:.1f}' if ratio else '-' for ratio in ratios)} |")
    return "\n".join(lines) + "\n"


def _score(measured: dict[str, Any]) -> str:
    rows, settings, machine = measured["rows"], measured["settings"], measured["machine"]
    where = f"the same {machine['cores']} cores of {machine['cpu']} (median of {settings['rounds']} rounds in turn)"
    return (
        f"`digits score` takes {settings['pictures']:,} PNG files to their table at "
        f"{measured['share_of_decoding']:.0%} of the rate at which Pillow\ndoes nothing but decode them on {where}, "
        f"as right as on the raw\narrays: {percent(measured['accuracy']['pictures'])}. {rows['count']:,} rows of an "
        f"`.npz` take {rows['peak_mb']:.0f} MB and {rows['seconds']:.0f} seconds.\n`import digits.client` takes "
        f"{measured['import_ratio']:.2f} times as long as `import numpy, grpc`. `make bench-score`.\n"
    )


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
