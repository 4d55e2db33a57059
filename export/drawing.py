"""A picture of what is served: the graph of each variant, from pixels to probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import onnx
from matplotlib.figure import Figure
from onnx import TensorProto

from digits.export.errors import ExportError
from digits.images.digit import CLASSES, SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

COLORS = {"integers": "#d7e8d4", "half": "#fbe3c0", "floats": "#dbe4f3", "ends": "#eeeeee"}
LEGEND = {"integers": "int8 weights", "half": "fp16 weights", "floats": "other", "ends": "input and output"}
COLUMN, ROW = 3.4, 0.62  # inches


def draw(variants: Mapping[str, Path], file: Path) -> None:
    """Draws the graph of each variant in a column of its own.

    Raises:
        ExportError: matplotlib knows no such kind of file.
    """
    models = {name: onnx.load(path) for name, path in variants.items()}
    longest = max(len(model.graph.node) for model in models.values()) + 2
    figure = Figure(figsize=(COLUMN * len(models), ROW * longest + 1), layout="constrained")
    columns = figure.subplots(1, len(models), squeeze=False)[0]
    for axes, (name, model) in zip(columns, models.items(), strict=True):
        _draw_column(axes, model.graph, longest)
        axes.set_title(f"{name}, {variants[name].stat().st_size / 1e6:.2f} MB", fontsize=11, fontweight="bold")
    handles = [
        mpl.patches.Patch(facecolor=COLORS[kind], edgecolor="#666666", label=text) for kind, text in LEGEND.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    if not file.suffix:
        raise ExportError(f"{file}: no kind of picture; say {file}.png, .svg or .pdf")
    try:
        figure.savefig(file, dpi=150)
    except ValueError as error:
        raise ExportError(f"{file}: {error}") from error


def _draw_column(axes: Axes, graph: onnx.GraphProto, rows: int) -> None:
    """Operators from top to bottom in the order in which they run; an arrow that passes others by bends around them."""
    constants = {constant.name: constant for constant in graph.initializer}
    (given,), (answer,) = graph.input, graph.output
    boxes = [(f"{given.name}\nuint8 [batch, {SIDE}, {SIDE}]", "ends")]
    boxes += [_box(node, constants) for node in graph.node]
    boxes.append((f"{answer.name}\nfloat32 [batch, {CLASSES}]", "ends"))
    made = {given.name: 0} | {name: row for row, node in enumerate(graph.node, 1) for name in node.output}
    for row, (text, kind) in enumerate(boxes):
        style = {"boxstyle": "round,pad=0.35", "facecolor": COLORS[kind], "edgecolor": "#666666", "linewidth": 0.8}
        axes.text(0, -row, text, ha="center", va="center", fontsize=8, bbox=style, zorder=2)
    arrows = [(made[name], row) for row, node in enumerate(graph.node, 1) for name in node.input if name in made]
    for start, end in [*arrows, (made[answer.name], len(boxes) - 1)]:
        bend = 0 if end == start + 1 else 0.35
        arrow = {
            "arrowstyle": "-|>",
            "color": "#666666",
            "connectionstyle": f"arc3,rad={bend}",
            "shrinkA": 12,
            "shrinkB": 12,
        }
        axes.annotate("", xy=(0, -end), xytext=(0, -start), arrowprops=arrow, zorder=1)
    axes.set(xlim=(-1, 1), ylim=(0.5 - rows, 0.5))
    axes.axis("off")


def _box(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[str, str]:
    """What stands in an operator's box, and its kind by the weights it has."""
    weights = [constants[name] for name in node.input if name in constants and len(constants[name].dims) > 1]
    shape = " x ".join(map(str, weights[0].dims)) if weights else ""
    types = {weight.data_type for weight in weights}
    kind = "integers" if TensorProto.INT8 in types else "half" if TensorProto.FLOAT16 in types else "floats"
    options = {option.name: option for option in node.attribute}
    if node.op_type == "Cast":
        shape = f"to {TensorProto.DataType.Name(options['to'].i).lower()}"
    return f"{node.op_type}{f'  {shape}' if shape else ''}", kind
