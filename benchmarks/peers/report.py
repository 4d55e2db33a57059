"""The results of `digits bench peers`: our calls for each of a peer's, and our servers compared with an echo."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from digits.benchmarks.figures import Line, chart, look
from digits.benchmarks.load.call import CLASSIFY, JSON, RAW, point_text
from digits.benchmarks.section import Drawing, Row, Section
from digits.benchmarks.server.report import server_table
from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import OURS
from digits.model.manifest import INT8
from digits.report.figure import GREY
from digits.report.table import Table

Repeats = Sequence[Mapping[str, Any]]
Pair = tuple[dict[str, Any], Row, Repeats, float]  # peer, its measurement, repeats of ours, the ratio

PAIRED = (
    "A peer and digits serve the same ONNX file and take turns; a ratio is the median of the rounds'. A peer is called "
    "as its users call it: by the Open Inference Protocol, our own contract, or HTTP; digits by the same where that is "
    "gRPC, and by Classify otherwise."
)
CAPTION = "How many calls digits answers for each of a peer's, in turn on the same cores: right of 1 digits is faster."
RATE, CPU = "calls_per_second", "cpu_us"


def in_turn(peer: str) -> str:
    """The name of our server as a system that is measured in turn with a peer."""
    return f"{TITLES[OURS]}, in turn with {peer}"


def repeats_of(rows: Sequence[Row], system: str, point: tuple[str, int, int]) -> list[dict[str, Any]]:
    """The repeats of a system under a load; empty if it was not measured."""
    return [repeat for row in rows if row["system"] == system and _point(row) == point for repeat in row["repeats"]]


def ratios(ours: Repeats, theirs: Repeats, measure: str) -> list[float]:
    """Ours over theirs, by round; rounds in which theirs is 0 are left out."""
    return [own[measure] / other[measure] for own, other in zip(ours, theirs, strict=False) if other[measure]]


def peers_section(result: dict[str, Any]) -> Section:
    rows, findings = result["measurements"], result["findings"]
    pairs, model = _pairs(rows, findings["peers"]), findings["model"]
    text = [PAIRED, f"The model is {model['name']} {model['version']}, {model['variant']}."]
    if model["variant"] != INT8:
        text.append("What the server must reach was set for int8, which this CPU's self-test rejects.")
    text += [f"{peer['title']} is left out: {peer['why_not']}." for peer in findings["peers"] if peer["why_not"]]
    text += [
        f"{peer['title']}, {load}: {why}." for peer in findings["peers"] for load, why in peer["failed_loads"].items()
    ]
    own = server_table([row for row in rows if row["system"] in TITLES.values()])
    tables = [_peers_table(pairs), own, _acceptance_table(findings["acceptance"])]
    drawings = [Drawing("ratios", lambda: _ratios(pairs), "calls for each of the peers'", CAPTION)] if pairs else []
    return Section("Compared with other servers", result, text, [one for one in tables if one.rows], drawings)


def _point(row: Row) -> tuple[str, int, int]:
    load = row["load"]
    return load["method"], load["images"], load["connections"]


def _pairs(rows: Sequence[Row], peers: Sequence[dict[str, Any]]) -> list[Pair]:
    """Each peer's measurements with those of ours that were in turn with them."""
    found: list[Pair] = []
    for peer in peers:
        for row in rows:
            if row["system"] == peer["title"]:
                kind, images, connections = _point(row)
                point = (CLASSIFY if kind in {RAW, JSON} else kind, images, connections)
                ours = repeats_of(rows, in_turn(peer["title"]), point)
                if by_round := ratios(ours, row["repeats"], RATE):
                    found.append((peer, row, ours, median(by_round)))
    return found


def _peers_table(pairs: Sequence[Pair]) -> Table:
    head = ("peer", "its batching", "load", "calls/s", "digits", "times as many", "CPU us a call", "digits")
    rows = []
    for peer, row, ours, ratio in pairs:
        calls, cpu = (
            [f"{median(repeat[of] for repeat in repeats):,.0f}" for repeats in (row["repeats"], ours)]
            for of in (RATE, CPU)
        )
        names = [f"{peer['title']} {peer['version']}", peer["batching"], point_text(*_point(row))]
        rows.append([*names, *calls, f"{ratio:.1f}", *cpu])
    return Table(head, rows, 3)


def _acceptance_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for line in lines:
        value = "infinite" if line["value"] is None else f"{line['value']:,.3g}"  # null in JSON
        rows.append([line["what"], value, line["wanted"], "yes" if line["met"] else "NO"])
    return Table(("what the server must reach", "is", "wanted", "met"), rows)


def _ratios(pairs: Sequence[Pair]) -> Figure:
    """A row for each peer, a mark for each load, on a logarithmic axis."""
    titles = list(dict.fromkeys(peer["title"] for peer, *_ in pairs))
    marks: dict[tuple[int, int], list[tuple[float, float]]] = {}  # by load; the protocol differs from peer to peer
    for peer, row, _, ratio in pairs:
        marks.setdefault(_point(row)[1:], []).append((ratio, titles.index(peer["title"])))
    ends = (len(titles) - 0.5, -0.5)
    lines = [Line("", (1, 1), ends, {"color": GREY, "linewidth": 1.2})]
    for number, ((images, connections), found) in enumerate(marks.items()):
        label = point_text("1 image" if images == 1 else "Calls", images, connections)
        x, y = zip(*found, strict=True)
        lines.append(Line(label, x, y, look(number) | {"linestyle": ""}))
    places = {"yticks": range(len(titles)), "yticklabels": titles, "ylim": ends}
    axes = {"xscale": "log", "xlabel": "digits' calls for each of the peer's"}
    size = (7.2, 1.2 + 0.42 * len(titles))
    return chart({"": lines}, size, axes | places)
