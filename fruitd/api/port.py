"""What the API shows and asks of a node. The daemon implements it; tests put a model in its place.

Everything a method returns is a tree of dicts, lists, strings, numbers, booleans and None, ready for JSON;
docs/api.md holds the schema. Every method is a coroutine, so that an implementation may wait for its disk
without stopping the node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from swarm.power import Place

Json = dict[str, Any]


class NodeView(Protocol):
    """A node as its operator sees it.

    A method that asks the node to act raises `fruitd.errors.RefusedError` where the node will not (answered
    with 409), `UsageError` where the request makes no sense (400), `RetryError` where it may work later (503)
    and `SlotError` where somebody has to look (500). The message is shown to the operator as it stands.
    """

    async def status(self) -> Json:
        """Everything about this node now; schema 1 in docs/api.md."""
        ...

    async def nodes(self) -> Json:
        """What every node this one has heard of said about itself."""
        ...

    async def members(self) -> Json:
        """Every join token with the nodes that are members by it, and what is revoked."""
        ...

    async def stack(self) -> Json:
        """Every stack of boards that is told of, with its bays, and this node's own heart."""
        ...

    async def stack_history(self, hours: int, place: Place | None, points: int) -> Json:
        """What was measured of all bays, or of one, in these last hours (1 to 8,784), as at most so many points for each bay; a
        node that may have the bus only."""
        ...

    async def map_stack(self, node_ids: list[bytes]) -> Json:
        """Find out in which bays these nodes sit, or all whose bay is not known; the node that has the bus only."""
        ...

    async def history(self, limit: int) -> Json:
        """The newest `limit` lines (1 to 2,000) of this node's history, oldest first."""
        ...

    async def doctor(self) -> Json:
        """The checks this node makes on itself, and what it has refused."""
        ...

    async def hold(self, why: str) -> None:
        """Begin nothing that changes what boots next, until `resume`."""
        ...

    async def resume(self) -> None:
        """End the hold; harmless where there is none."""
        ...

    async def reload(self) -> Json:
        """Read the swarm keys and the join token again, while running; what the node goes on with."""
        ...

    async def rollback(self, why: str) -> None:
        """Go back to the other slot and quarantine the release that runs now."""
        ...

    async def lift(self, release: int, why: str) -> None:
        """End the quarantine of a release: it is tried again as if for the first time."""
        ...

    async def publish(
        self, manifest: bytes, torrent: bytes, image: str, parcels: Sequence[tuple[bytes, str]] = ()
    ) -> Json:
        """Check, keep and spread a signed release; its image lies at the absolute path `image` here.

        `parcels`: the torrent file++ of each parcel that is handed over, and the absolute path of the parcel.
        Returns what was published, for the answer: {"release", "version", "infohash"}.
        """
        ...

    async def records(self, kind: str) -> Json:
        """Every record of a kind that this node holds; raises `UsageError` for a kind it does not know."""
        ...

    async def take_record(self, record: bytes) -> Json:
        """Take one encoded record, judged like any other news, and spread it.

        Returns {"outcome": "accepted", "known", "older" or "disputed", "kind", "key", "sequence", "content_hash"}.
        """
        ...

    async def wait_change(self, seen: int) -> int:
        """Wait until the status differs from revision `seen`; returns the revision now.

        Revisions grow; 0 is older than any, so that the first call returns at once.
        """
        ...
