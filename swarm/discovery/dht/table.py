"""Kademlia's table of contacts, within bounds: `kademlia.routing` with what was found wrong in it put right.

A contact enters because it answered, at this address, and said that anybody may ask it; it stays until it was silent twice in
a row. What `kademlia` 2.2.3 does instead, measured, stands in docs/adr/0024-dht.md.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

DEPTH_MAX = 24
"""How often the range with our own id is split: with `BUCKET_CONTACTS` and as many in reserve this bounds the table at 400
contacts, about 200 KiB, whatever ids an attacker makes; enough for swarms of 2**24 open nodes."""
BUCKET_CONTACTS = 8
"""k: see `messages.NEIGHBOURS_MAX`."""
PER_HOST_MAX = 3
"""Contacts behind one IP address. More: one machine can pretend to be more of the table; fewer: sites with several open nodes
behind one address lose some. Loopback is exempt: nobody attacks from there."""
STRIKES_MAX = 2
"""Questions in a row, each asked three times, after which a silent contact goes. One lost datagram must not cost a contact."""


class Bucket(KBucket):
    """A range of ids, at most `BUCKET_CONTACTS` contacts in it and as many in reserve."""

    def __init__(self, lower: int, upper: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        super().__init__(lower, upper, BUCKET_CONTACTS, replacementNodeFactor=1)

    def touch_last_updated(self) -> None:
        """Somebody near was looked for: `kademlia` reads the system's clock here."""
        self.last_updated = self._clock()

    def split(self) -> tuple[Bucket, Bucket]:
        """Two halves, which look for their ids as lately as this one did."""
        middle = (self.range[0] + self.range[1]) // 2
        halves = Bucket(self.range[0], middle, self._clock), Bucket(middle + 1, self.range[1], self._clock)
        for half in halves:
            half.last_updated = self.last_updated
        for node in (*self.nodes.values(), *self.replacement_nodes.values()):
            halves[node.long_id > middle].add_node(node)
        return halves


def _is_link_local(node: Node) -> bool:
    """Others could do nothing with it."""
    return ip_address(node.ip).is_link_local


class Table(RoutingTable):
    """All contacts of this node."""

    def __init__(self, node_id: bytes, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._strikes: dict[bytes, int] = {}
        super().__init__(protocol=None, ksize=BUCKET_CONTACTS, node=Node(node_id))

    def flush(self) -> None:
        """Forget everybody."""
        self.buckets = [Bucket(0, 2**160 - 1, self._clock)]
        self._strikes.clear()

    def answered(self, node: Node) -> bool:
        """An open node answered at this address. True if it is in the table now and was not before."""
        self._strikes.pop(node.id, None)
        if node.id == self.node.id or _is_link_local(node):
            return False
        held = self.contact(node.id)
        if held is not None and not held.same_home_as(node):
            return False  # who holds an id keeps it while it answers; a mover is let in when its old address fell silent
        if held is None and self._crowded(node):
            return False
        self.add_contact(node)
        return held is None and self.contact(node.id) is not None

    def has_room_for(self, node: Node) -> bool:
        """Whether it would become a contact, or be kept in reserve, if it answered."""
        bucket = self.buckets[self.get_bucket_for(node)]
        known = node.id in bucket.nodes or node.id in bucket.replacement_nodes
        full = len(bucket.replacement_nodes) >= bucket.max_replacement_nodes
        return not known and not full and not self._crowded(node) and not _is_link_local(node)

    def silent(self, node: Node) -> bool:
        """It did not answer. True if that was once too often, and it has been dropped."""
        held = self.contact(node.id)
        if held is None or not held.same_home_as(node):
            return False
        self._strikes[node.id] = self._strikes.get(node.id, 0) + 1
        if self._strikes[node.id] < STRIKES_MAX:
            return False
        self.drop(node)
        return True

    def drop(self, node: Node) -> None:
        """Forget this contact, at once."""
        self._strikes.pop(node.id, None)
        self.remove_contact(node)

    def contact(self, node_id: bytes) -> Node | None:
        """The contact with this id."""
        found = self.buckets[self.get_bucket_for(Node(node_id))][node_id]
        return found if isinstance(found, Node) else None

    def contacts(self) -> list[Node]:
        """All of them."""
        return [node for bucket in self.buckets for node in bucket.get_nodes()]

    def add_contact(self, node: Node) -> None:
        """Only the range of our own id is split, by its own depth: `kademlia` takes the depth of whoever is in it, and splits
        without end for ids that were made for that."""
        index = self.get_bucket_for(node)
        bucket = self.buckets[index]
        if bucket.add_node(node) or not bucket.has_in_range(self.node) or len(self.buckets) > DEPTH_MAX:
            return
        self.split_bucket(index)
        self.add_contact(node)

    def get_bucket_for(self, node: Node) -> int:
        """Index of the range that the id lies in; `kademlia` puts a range's last id into the next."""
        return next(index for index, bucket in enumerate(self.buckets) if bucket.has_in_range(node))

    def find_neighbors(self, node: Node, k: int | None = None, exclude: Node | None = None) -> list[Node]:
        """The contacts nearest to an id, the truly nearest (`kademlia` found 0.48 to 0.83 of them)."""
        others = (
            known
            for known in self.contacts()
            if known.id != node.id and (exclude is None or not known.same_home_as(exclude))
        )
        return heapq.nsmallest(k or self.ksize, others, key=node.distance_to)

    def stale(self, older_than_s: float) -> list[Bucket]:
        """Ranges in which nobody was looked for since this long."""
        return [b for b in self.buckets if b.last_updated < self._clock() - older_than_s]

    def touch(self, node: Node) -> None:
        """Somebody with this id is being looked for."""
        self.buckets[self.get_bucket_for(node)].touch_last_updated()

    def _crowded(self, node: Node) -> bool:
        hosts = Counter(
            known.ip
            for bucket in self.buckets
            for known in (*bucket.nodes.values(), *bucket.replacement_nodes.values())
        )
        return hosts[node.ip] >= PER_HOST_MAX and not ip_address(node.ip).is_loopback
