"""What commands are told, or ask a node, to find mistakes in a release by: nodes, manifests, the newest trust root."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from fruitd.cli.client import NodeClient
from fruitd.cli.maintainer_options import read_file
from fruitd.errors import RefusedError
from fruitd.maintainer.fleet import NODES_FILE_BYTES_MAX, known_nodes, read_nodes
from fruitd.maintainer.inspect import manifest_before
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.review import Known
from swarm.errors import SwarmError
from swarm.news.record import Record
from swarm.root_file import RootChain, load_chain
from swarm.trust.key_files import read_bounded

NodesOption = Annotated[
    Path | None,
    typer.Option(help="What `fruit nodes --json` printed: the nodes to compare with.", metavar="FILE"),
]
AskSocketOption = Annotated[
    Path | None,
    typer.Option("--socket", help="Ask this node for its nodes and its manifest.", metavar="PATH"),
]
NewestTrustOption = Annotated[
    Path | None,
    typer.Option("--trust", help="The newest trust root, if newer than the folder's.", metavar="FILE"),
]
ComparedOption = Annotated[
    Path | None,
    typer.Option("--previous", help="A manifest of the channel to compare with.", metavar="FILE"),
]
AnywayOption = Annotated[
    str,
    typer.Option(help="Why mistakes that are not final are meant this time.", metavar="REASON"),
]


def gather(
    own: RootChain,
    *,
    channel: str,
    previous: Path | None = None,
    nodes: Path | None = None,
    trust: Path | None = None,
    socket: Path | None = None,
) -> Known:
    """Everything that was given, and what the node at `socket` tells. Raises `FruitError`.

    Args:
        own: the trust roots by which manifests are judged where no newer ones are given.
    """
    chain = None
    if trust is not None:
        with as_refusals(f"trust root {trust}"):
            chain = load_chain(read_file(trust))
    manifests = [] if previous is None else [manifest_before(read_file(previous), (chain or own).roots)]
    known = None
    if nodes is not None:
        with as_refusals():
            known = read_nodes(read_bounded(nodes, NODES_FILE_BYTES_MAX))
    if socket is not None:
        with closing(NodeClient(socket)) as client:
            manifests += held_records(client, "manifest", channel)
            known = known_nodes(client.get("/v1/nodes")) if known is None else known
    return Known(tuple(manifests), known, chain.newest if chain is not None else None, time.time())


def held_records(client: NodeClient, kind: str, channel: str | None = None) -> tuple[Record, ...]:
    """What a node holds of one kind, and of one channel: it has judged all of it. Two of a channel contradict each other."""
    found = []
    for row in client.records(kind):
        try:
            record = Record.decode(bytes.fromhex(row["record"]))
        except (KeyError, TypeError, ValueError, SwarmError) as error:
            raise RefusedError("the node answered with something that is no record") from error
        if record.kind == kind and (channel is None or record.key == channel.encode()):
            found.append(record)
    return tuple(found)
