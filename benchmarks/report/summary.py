"""What README.md says of parity, engine and server: a sentence or two of each, with the command that measured it."""

from __future__ import annotations

from statistics import median
from textwrap import fill
from typing import Any

from digits.benchmarks.engine.subjects import FUNCTION, PREDICT
from digits.benchmarks.parity.images import TEST
from digits.model.manifest import FP32
from digits.report.number_format import percent

WIDTH = 120
MANY = 64  # images in a batch, and in a call
OF_CALM = (("latency_us", "p50"), ("latency_us", "p99"), ("sent_late_us", "p99"))
HALF = 0.5  # of what the closed loop reached
NATIVE, GRPCIO = "digits, native", "digits, grpcio"


def in_sentences(parity: dict[str, Any], engine: dict[str, Any], server: dict[str, Any]) -> str:
    """A list in Markdown, its lines filled."""
    machine = server["machine"]
    where = f"With the bundled model, callers and server on the same {machine['cores']} cores of {machine['cpu']}"
    items = [
        f"- `digits bench parity`: {_parity(parity)}",
        f"- `digits bench engine`: {_engine(engine)}",
        f"- `digits bench server`: {_server(server)}",
    ]
    filled = [fill(item, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for item in items]
    return "\n".join([f"{where} (`make bench`):", "", *filled]) + "\n"


def _parity(result: dict[str, Any]) -> str:
    rows = [one for one in result["measurements"] if one["repeats"]]
    found = next(one for one in rows if one["subject"] == FP32 and one["load"]["images"] == TEST)
    served = [one for one in rows if one["load"]["where"] == "server"]
    numbers, (low, high) = found["repeats"][0], map(percent, found["agreement_95"])
    differing = sum(one["repeats"][0]["differing_images"] for one in served)
    return (
        f"fp32 gives {numbers['same_digit']:,} of {found['load']['count']:,} test images Keras's own digit (95 % "
        f"interval {low} to {high}), and no probability is further off than {numbers['max_abs_diff']:.1e}. Of "
        f"{served[0]['load']['count']:,} images through the server, by each of {len(served)} ways, "
        f"{differing or 'none'} came back with other bytes than in process."
    )


def _engine(result: dict[str, Any]) -> str:
    rates = {
        (row["subject"], row["load"]["batch"]): f"{median(one['images_per_second'] for one in row['repeats']):,.0f}"
        for row in result["measurements"]
        if row["load"].get("threads") == 1 and "batch" in row["load"]
    }
    points = result["findings"]["roofline"]["points"]
    share = next(one["share"] for one in points if (one["subject"], one["batch"], one["threads"]) == (FP32, MANY, 1))
    return (
        f"On one thread fp32 classifies {rates[FP32, 1]} images a second one by one and {rates[FP32, MANY]} in batches "
        f"of {MANY}, {share:.0%} of what the machine's measured peaks allow; tf.function {rates[FUNCTION, 1]} and "
        f"{rates[FUNCTION, MANY]}, Keras's `predict` {rates[PREDICT, 1]} and {rates[PREDICT, MANY]}."
    )


def _server(result: dict[str, Any]) -> str:
    rows = result["measurements"]
    calm = next(row for row in rows if row["subject"] == NATIVE and _is(row, images=1, share=HALF))["repeats"][0]
    rates = {
        row["subject"]: f"{'at least ' * row['at_least']}{row['highest_calls_per_second'] * MANY:,.0f}"
        for row in rows
        if _is(row, images=MANY) and "at_least" in row
    }
    p50, p99, late = (calm[what][share] / 1000 for what, share in OF_CALM)
    slo = result["settings"]["slo"]
    return (
        f"Of {calm['offered_calls_per_second']:,.0f} calls a second at random times half take {p50:.1f} ms at most and "
        f"99 % {p99:.1f} ms, counted from when they were to be sent; the generator itself sends 99 % of them at most "
        f"{late:.1f} ms late. With {MANY} images a call, 99 % are answered within {slo:g} ms up to {rates[NATIVE]} "
        f"images a second ({rates[GRPCIO]} over grpcio)."
    )


def _is(row: dict[str, Any], **wanted: object) -> bool:
    return all(row["load"].get(name) == value for name, value in wanted.items())
