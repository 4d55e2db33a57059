"""A figure of the graph of each variant, from pixels to probabilities."""

from collections.abc import Mapping
from pathlib import Path

import onnx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from onnx import TensorProto

from digits.export.errors import ExportError
from digits.images.digit import CLASSES, SIDE
from digits.model.engine import NOVELTY, OUTPUT

EDGE = "#666666"
KINDS = {
    "int8 weights": "#d7e8d4",
    "fp16 weights": "#fbe3c0",
    "other": "#dbe4f3",
    "input and output": "#eeeeee",
}
COLUMN, ROW = 3.4, 0.62  # inches


def draw(variants: Mapping[str, Path], file: Path) -> None:
    """Draws the graph of each variant in its own column.

    Raises:
        ExportError: matplotlib does not support this type of file.
    """
    models = {name: onnx.load(path) for name, path in variants.items()}
    rows = max(len(model.graph.node) + 1 + len(model.graph.output) for model in models.values())
    figure = Figure(figsize=(COLUMN * len(models), ROW * rows + 1), layout="constrained")
    columns = figure.subplots(1, len(models), squeeze=False)[0]
    for axes, (name, model) in zip(columns, models.items(), strict=True):
        _draw_column(axes, model.graph, rows)
        axes.set_title(f"{name}, {variants[name].stat().st_size / 1e6:.2f} MB", fontsize=11, fontweight="bold")
    handles = [Patch(facecolor=color, edgecolor=EDGE, label=kind) for kind, color in KINDS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    if not file.suffix:
        raise ExportError(f"{file}: expected a type of figure; say {file}.png, .svg or .pdf")
    try:
        figure.savefig(file, dpi=150)
    except ValueError as error:
        raise ExportError(f"{file}: {error}") from error


def _draw_column(axes: Axes, graph: onnx.GraphProto, rows: int) -> None:
    """Operators from top to bottom in the order in which they run; an arrow that skips some is bent around them."""
    constants = {constant.name: constant for constant in graph.initializer}
    (given,), answers = graph.input, graph.output
    boxes = [(f"{given.name}\nuint8 [batch, {SIDE}, {SIDE}]", "input and output")]
    boxes += [_box(node, constants) for node in graph.node]
    shapes = {OUTPUT: f"[batch, {CLASSES}]", NOVELTY: "[batch]"}
    boxes += [(f"{answer.name}\nfloat32 {shapes[answer.name]}", "input and output") for answer in answers]
    for row, (text, kind) in enumerate(boxes):
        style = {"boxstyle": "round,pad=0.35", "facecolor": KINDS[kind], "edgecolor": EDGE, "linewidth": 0.8}
        axes.text(0, -row, text, ha="center", va="center", fontsize=8, bbox=style, zorder=2)
    made = {given.name: 0} | {name: row for row, node in enumerate(graph.node, 1) for name in node.output}
    arrows = [(made[name], row) for row, node in enumerate(graph.node, 1) for name in node.input if name in made]
    first = len(boxes) - len(answers)
    for start, end in [*arrows, *((made[answer.name], end) for end, answer in enumerate(answers, first))]:
        bend = f"arc3,rad={0 if end == start + 1 else 0.35}"
        arrow = {"arrowstyle": "-|>", "color": EDGE, "connectionstyle": bend, "shrinkA": 12, "shrinkB": 12}
        axes.annotate("", xy=(0, -end), xytext=(0, -start), arrowprops=arrow, zorder=1)
    axes.set(xlim=(-1, 1), ylim=(0.5 - rows, 0.5))
    axes.axis("off")


def _box(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[str, str]:
    """The text in an operator's box, and its kind by the weights that it has."""
    weights = [constants[name] for name in node.input if name in constants and len(constants[name].dims) > 1]
    shape = " x ".join(map(str, weights[0].dims)) if weights else ""
    types = {weight.data_type for weight in weights}
    kind = "int8 weights" if TensorProto.INT8 in types else "fp16 weights" if TensorProto.FLOAT16 in types else "other"
    if node.op_type == "Cast":
        (to,) = [option.i for option in node.attribute if option.name == "to"]
        shape = f"to {TensorProto.DataType.Name(to).lower()}"
    return f"{node.op_type}{f'  {shape}' if shape else ''}", kind
