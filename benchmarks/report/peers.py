"""The report of `digits bench peers`: how many calls we answer for each of a peer's, and beside an echo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from digits.benchmarks.report.section import Drawing, Section
from digits.benchmarks.servers import TITLES
from digits.model.manifest import INT8
from digits.report.figure import GREY, RUNS, png, tidy
from digits.report.table import Table

if TYPE_CHECKING:
    from pathlib import Path

PAIRED = (
    "A peer and ours serve the same ONNX file and take turns; a ratio is "
    "the median of the rounds'. A peer is called as its users call it: by the Open Inference Protocol, our own "
    "contract, or HTTP; ours by the same where that is gRPC, and by Classify otherwise."
)
CAPTION = "How many calls digits answers for each of a peer's, in turn on the same cores: right of 1 digits is faster."
MARKERS = "osD^"


def peers_section(result: dict[str, Any], _folder: Path) -> Section:
    peers = [peer for peer in result["peers"] if any(load["ratio"] for load in peer["loads"])]
    text = [
        PAIRED,
        f"The model is {result['model']['name']} {result['model']['version']}, {result['model']['variant']}.",
    ]
    if result["model"]["variant"] != INT8:
        text.append("What the server has to reach was set for int8, which this CPU's self-test refuses.")
    text += [f"{peer['title']} is left out: {peer['why_not']}." for peer in result["peers"] if peer["why_not"]]
    text += [
        f"{peer['title']}, {load['load']}: {load['why_not']}."
        for peer in result["peers"]
        for load in peer["loads"]
        if load["why_not"]
    ]
    tables = [_peers(peers), _house(result["medians"]), _acceptance(result["acceptance"])]
    drawings = []
    if peers:
        drawings.append(Drawing("peers.png", png(_ratios(peers)), "calls for each of the peers'", CAPTION))
    return Section("Beside other servers", result, text, [one for one in tables if one.rows], drawings)


def _peers(peers: list[dict[str, Any]]) -> Table:
    head = ("peer", "its batching", "load", "calls/s", "ours", "times as many", "CPU us a call", "ours")
    rows = [
        [
            f"{peer['title']} {peer['version']}",
            peer["batching"],
            load["load"],
            *(f"{load[who]['calls_per_second']:,.0f}" for who in ("peer", "ours")),
            f"{load['ratio']:.1f}",
            *(f"{load[who]['cpu_microseconds']:,.0f}" for who in ("peer", "ours")),
        ]
        for peer in peers
        for load in peer["loads"]
        if load["ratio"]
    ]
    return Table(head, rows, 3)


def _house(medians: dict[str, dict[str, dict[str, Any]]]) -> Table:
    head = ("load", "server", "calls/s", "images/s", "mean us", "CPU us a call")
    rows = [
        [
            load,
            TITLES[name],
            f"{one['calls_per_second']:,.0f}",
            f"{one['images_per_second']:,.0f}",
            f"{one['mean_microseconds']:,.0f}",
            f"{one['cpu_microseconds']:,.1f}",
        ]
        for load, servers in medians.items()
        for name, one in servers.items()
    ]
    return Table(head, rows, 2)


def _acceptance(lines: list[dict[str, Any]]) -> Table:
    rows = [[line["what"], f"{line['value']:,.3g}", line["wanted"], _met(line)] for line in lines]
    return Table(("what the server has to reach", "is", "wanted", "met"), rows)


def _met(line: dict[str, Any]) -> str:
    if not line["wanted"]:
        return ""
    return "yes" if line["met"] else "NO"


def _ratios(peers: list[dict[str, Any]]) -> Figure:
    """A row for each peer, a mark for each load, on a logarithmic axis."""
    loads = list(dict.fromkeys(_kind(load["load"]) for peer in peers for load in peer["loads"] if load["ratio"]))
    figure = Figure(figsize=(7.2, 1.2 + 0.42 * len(peers)), layout="constrained")
    axes = figure.subplots()
    for number, kind in enumerate(loads):
        found = [
            (load["ratio"], place)
            for place, peer in enumerate(peers)
            for load in peer["loads"]
            if load["ratio"] and _kind(load["load"]) == kind
        ]
        ratios, places = zip(*found, strict=True)
        axes.plot(ratios, places, MARKERS[number % len(MARKERS)], color=RUNS[number], label=kind, alpha=0.9)
    axes.axvline(1, color=GREY, linewidth=1.2)
    axes.set(xscale="log", xlabel="digits' calls for each of the peer's", yticks=range(len(peers)))
    axes.set_yticklabels([peer["title"] for peer in peers])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:g}")
    tidy(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _kind(load: str) -> str:
    """A load without the protocol, which differs from peer to peer: images and connections."""
    what, _, connections = load.rpartition(", ")
    images = what.partition(" of ")[2] or "1 image"
    return f"{images}, {connections}"
