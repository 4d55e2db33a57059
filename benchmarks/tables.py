"""The results of the benchmarks that are tables only: exported runs, training and scoring."""

from statistics import mean, median
from typing import Any

from digits.benchmarks.section import Section
from digits.report.number_format import percent
from digits.report.table import Table

RATIO = "{times_as_fast:.3g} ({lower_quartile:.3g} to {upper_quartile:.3g})"
PLAIN, OURS = "model.fit", "digits train"
PICTURES, DECODING, ROWS, IMPORTS = "digits score", "Pillow", "rows", "imports"


def export_section(result: dict[str, Any]) -> Section:
    """A table of all runs: every way to run each of them."""
    rows = result["measurements"]
    sizes = sorted({row["load"]["images"] for row in rows})
    repeats = {(row["load"]["recipe"], row["system"], row["load"]["images"]): row["repeats"][0] for row in rows}
    head = ("recipe", "", *(f"us an image of {size}" for size in sizes), *(f"times fp32 at {size}" for size in sizes))
    cells = [
        [
            *names,
            *(f"{repeats[*names, size]['microseconds_per_image']:,.1f}" for size in sizes),
            *(RATIO.format(**repeats[*names, size]) for size in sizes),
        ]
        for names in dict.fromkeys(key[:2] for key in repeats)
    ]
    text = ["On one thread, in turn; in brackets the quartiles of the rounds' ratios."]
    text += [
        f"{model['recipe']}, {name}: Keras's digit for {percent(variant['argmax_agreement'])} of the test images, "
        f"accuracy {percent(variant['accuracy'])}."
        for model in result["findings"]["models"]
        for name, variant in model["variants"].items()
    ]
    return Section("Variants of exported runs, with Keras and OpenVINO", result, text, [Table(head, cells, 2)])


def training_section(result: dict[str, Any]) -> Section:
    repeats = {row["system"]: row["repeats"] for row in result["measurements"]}
    pairs = list(
        zip(repeats.get(PLAIN, []), repeats.get(OURS, []), strict=False)
    )  # the last one may be half, if the benchmark ended early
    head = ["seed", f"{PLAIN}, s", f"{OURS}, s", "ratio", f"{PLAIN}, test accuracy", f"{OURS}, test accuracy"]
    rows = [
        [
            str(slow["seed"]),
            *(f"{one['seconds']:.1f}" for one in (slow, fast)),
            f"{slow['seconds'] / fast['seconds']:.2f}",
            *(percent(one["test_accuracy"]) for one in (slow, fast)),
        ]
        for slow, fast in pairs
    ]
    text = []
    if pairs:
        ratio = median(slow["seconds"] / fast["seconds"] for slow, fast in pairs)
        plain_mean, ours_mean = (mean(pair[i]["test_accuracy"] for pair in pairs) for i in (0, 1))
        text.append(
            f"{OURS} is {ratio:.2f} times as fast as {PLAIN} (median of the ratios), its mean test accuracy "
            f"{percent(ours_mean)} compared with {percent(plain_mean)}."
        )
    return Section("The training loop compared with model.fit", result, text, [Table(head, rows)])


def score_section(result: dict[str, Any]) -> Section:
    rows = {row["system"]: row["repeats"] for row in result["measurements"]}
    rounds = list(zip(rows.get(PICTURES, []), rows.get(DECODING, []), strict=False))
    head = ["round", "scored a second", "decoded only, a second", "share", "accuracy of pictures", "of arrays"]
    cells = [
        [
            str(number),
            *(f"{one['pictures_per_second']:,.0f}" for one in (scored, decoded)),
            f"{scored['pictures_per_second'] / decoded['pictures_per_second']:.0%}",
            percent(scored["accuracy"]),
            percent(scored["accuracy_of_arrays"]),
        ]
        for number, (scored, decoded) in enumerate(rounds, 1)
    ]
    text = [f"{result['settings']['pictures']:,} PNG files to a table, compared with Pillow only decoding them."]
    if rounds:
        share = median(one["pictures_per_second"] / other["pictures_per_second"] for one, other in rounds)
        text.append(f"Scoring reaches {share:.0%} of the rate of decoding (at least 70 % is wanted).")
    for many in rows.get(ROWS, []):
        memory = f"all processes {many['peak_mb']:.0f} MB (below 400 is wanted)"
        text.append(f"{result['settings']['rows']:,} rows of an `.npz` took {many['seconds']:.0f} s, {memory}.")
    if imports := rows.get(IMPORTS):
        ratio = median(one["client_seconds"] / one["bare_seconds"] for one in imports)
        text.append(f"Importing the client takes {ratio:.2f} times as long as numpy and grpc (at most 1.3 is wanted).")
    return Section("Scoring pictures", result, text, [Table(head, cells)])
