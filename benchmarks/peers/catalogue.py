"""The peers by name: their versions, and how each is started. Each listens on this host alone, and calls nobody."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from digits.benchmarks.cells import CLASSIFY, JSON, RAW, UINT8
from digits.benchmarks.peers import triton
from digits.benchmarks.peers.peer import HERE, Peer, lay_script
from digits.benchmarks.settings import BENTOML, KSERVE, LITSERVE, MLSERVER, MOSEC, RAY

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = ("{environment}/bin/python", "{folder}/server.py")
GATHERED = "up to 64 calls, of at most 1 ms"


def _lay_ray(folder: Path, environment: Path, model: Path, name: str) -> None:
    """Our contract too: Ray Serve takes a generated servicer by its import path."""
    lay_script(folder, environment, model, name)
    shutil.copytree(HERE.parent.parent / "protos" / "digits", folder / "digits" / "protos" / "digits")


KSERVE_PEER = Peer(
    name=KSERVE,
    title="KServe",
    requirements=("kserve==0.21.0",),
    call=UINT8,
    batching="none: it is another container's",
    command=(*SCRIPT, "{host}:{port}"),
)
MLSERVER_PEER = Peer(
    name=MLSERVER,
    title="MLServer",
    requirements=("mlserver==1.7.1",),
    call=UINT8,
    batching="none, the default: with it, it was slower",
    command=(*SCRIPT, "{host}", "{port}", "{other_port}"),
)
RAY_PEER = Peer(
    name=RAY,
    polls=True,
    title="Ray Serve",
    requirements=("ray[serve]==2.60.0", "protobuf==6.33.6"),
    call=CLASSIFY,
    batching=GATHERED,
    command=(*SCRIPT, "{port}", "{other_port}"),
    # The second keeps Ray's own ports on the loopback interface, as it does elsewhere by default.
    variables={
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "PYTHONPATH": "{folder}",
    },
    lay=_lay_ray,
)
MOSEC_PEER = Peer(
    name=MOSEC,
    title="mosec",
    requirements=("mosec==0.9.8",),
    call=RAW,
    batching=GATHERED,
    command=(*SCRIPT, "--address", "{host}", "--port", "{port}"),
)
LITSERVE_PEER = Peer(
    name=LITSERVE,
    polls=True,
    title="LitServe",
    requirements=("litserve==0.2.19",),
    call=RAW,
    batching=GATHERED,
    command=(*SCRIPT, "{host}", "{port}"),
)
BENTOML_PEER = Peer(
    name=BENTOML,
    title="BentoML",
    requirements=("bentoml==1.4.40",),
    call=JSON,
    batching="none, the default: with it, a lone caller waited for others after a load",
    command=(
        *("{environment}/bin/bentoml", "serve", "--working-dir", "{folder}"),
        *("--host", "{host}", "--port", "{port}", "server:Classifier"),
    ),
    variables={"BENTOML_DO_NOT_TRACK": "True"},
)
CATALOGUE = {
    peer.name: peer
    for peer in (triton.PEER, KSERVE_PEER, MLSERVER_PEER, RAY_PEER, MOSEC_PEER, LITSERVE_PEER, BENTOML_PEER)
}
