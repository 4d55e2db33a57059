"""The results of `digits bench peers`: our calls for each of a peer's, and our servers compared with an echo."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from digits.benchmarks.figures import Line, chart, look
from digits.benchmarks.load.call import CLASSIFY, HTTP, Point
from digits.benchmarks.load.measure import RATE
from digits.benchmarks.section import Repeats, Row, Section, ratios, repeats_of, section
from digits.benchmarks.server.report import server_table
from digits.benchmarks.servers import TITLES
from digits.benchmarks.settings import OURS
from digits.report.figure import GREY

Pair = tuple[dict[str, Any], Point, Repeats, Repeats, float]  # peer, its load, its repeats and ours, the ratio


def in_turn(peer: str) -> str:
    """The name of our server as a system that is measured in turn with a peer."""
    return f"{TITLES[OURS]}, in turn with {peer}"


def peers_section(result: dict[str, Any]) -> Section:
    rows = result["measurements"]
    pairs = _pairs(rows, result["findings"]["peers"])
    own = server_table([row for row in rows if row["system"] in TITLES.values()])
    return section(result, {"ratios": lambda: _ratios(pairs)} if pairs else {}, pairs=pairs, own=own)


def _pairs(rows: Sequence[Row], peers: Sequence[dict[str, Any]]) -> list[Pair]:
    """Each peer's measurements with those of ours that were in turn with them."""
    found: list[Pair] = []
    for peer in peers:
        for row in (row for row in rows if row["system"] == peer["title"]):
            load = {name: row["load"][name] for name in ("method", "images", "connections")}
            same = load | ({"method": CLASSIFY} if load["method"] in HTTP else {})
            ours = repeats_of(rows, in_turn(peer["title"]), **same)
            if by_round := ratios(ours, row["repeats"], RATE):
                found.append((peer, Point(*load.values()), row["repeats"], ours, median(by_round)))
    return found


def _ratios(pairs: Sequence[Pair]) -> Figure:
    """A row for each peer, a mark for each load, on a logarithmic axis."""
    titles = list(dict.fromkeys(peer["title"] for peer, *_ in pairs))
    marks: dict[str, list[tuple[float, float]]] = {}
    for peer, load, _, _, ratio in pairs:
        label = str(load._replace(kind="1 image" if load.images == 1 else "Calls"))  # the protocol differs
        marks.setdefault(label, []).append((ratio, titles.index(peer["title"])))
    ends = (len(titles) - 0.5, -0.5)
    lines = [Line("", (1, 1), ends, {"color": GREY, "linewidth": 1.2})]
    for number, (label, found) in enumerate(marks.items()):
        x, y = zip(*found, strict=True)
        lines.append(Line(label, x, y, look(number) | {"linestyle": ""}))
    places = {"yticks": range(len(titles)), "yticklabels": titles, "ylim": ends}
    axes = {"xscale": "log", "xlabel": "digits' calls for each of the peer's"}
    size = (7.2, 1.2 + 0.42 * len(titles))
    return chart({"": lines}, size, axes | places)
