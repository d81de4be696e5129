"""The table of contacts, by itself: what `kademlia` gets wrong must stay put right."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random

from hypothesis import given
from hypothesis import strategies as st
from kademlia.node import Node

from swarm.discovery.dht.table import BUCKET_CONTACTS, DEPTH_MAX, PER_HOST_MAX, STRIKES_MAX, Table

ME = hashlib.sha256(b"me").digest()[:20]


def node(node_id: bytes, number: int) -> Node:
    return Node(node_id, f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}", 47101)


def table_of(ids: list[bytes]) -> Table:
    table = Table(ME, lambda: 0.0)
    for number, node_id in enumerate(ids):
        table.answered(node(node_id, number))
    return table


@given(
    st.lists(st.binary(min_size=20, max_size=20), max_size=200, unique=True),
    st.binary(min_size=20, max_size=20),
)
def test_the_nearest_known_are_the_nearest(ids: list[bytes], target: bytes) -> None:
    """A lookup that passes over near nodes ends beside those that hold what it wants."""
    table = table_of(ids)
    aim = Node(target)
    known = [n for n in table.contacts() if n.id != target]
    wanted = heapq.nsmallest(BUCKET_CONTACTS, known, key=aim.distance_to)
    assert [n.id for n in table.find_neighbors(aim)] == [n.id for n in wanted]


@given(st.integers(0, 2**32), st.integers(0, 159))
def test_no_choice_of_ids_makes_the_table_grow_without_bound(seed: int, shared_bits: int) -> None:
    """Somebody who makes ids near ours could split ranges, and fill memory, without end."""
    rng = random.Random(seed)
    own = int.from_bytes(ME, "big")
    ids = [
        (own ^ (1 << (159 - shared_bits)) ^ rng.getrandbits(max(1, 159 - shared_bits))).to_bytes(20, "big")
        for _ in range(300)
    ]
    table = table_of(ids + [rng.randbytes(20) for _ in range(300)])
    assert len(table.buckets) <= DEPTH_MAX + 1
    for bucket in table.buckets:
        assert len(bucket.nodes) <= BUCKET_CONTACTS
        assert len(bucket.replacement_nodes) <= BUCKET_CONTACTS
    # The ranges are all ids, each once, and every contact lies in its own.
    ends = [bucket.range for bucket in table.buckets]
    assert ends[0][0] == 0
    assert ends[-1][1] == 2**160 - 1
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ends))
    assert all(bucket.has_in_range(n) for bucket in table.buckets for n in bucket.get_nodes())


def test_one_machine_is_a_small_part_of_the_table() -> None:
    """Somebody with one address could be everybody that a node knows."""
    table = Table(ME, lambda: 0.0)
    for number in range(50):
        table.answered(Node(hashlib.sha256(b"%d" % number).digest()[:20], "192.0.2.1", 1000 + number))
    assert len(table.contacts()) == PER_HOST_MAX


def test_nobody_takes_a_living_contacts_place() -> None:
    """Somebody who says that he is an honest node would be asked in its stead."""
    table = table_of([b"\1" * 20])
    honest = table.contacts()[0]
    table.answered(Node(honest.id, "203.0.113.9", 1))
    assert table.contacts()[0].ip == honest.ip
    # And who was never a contact at that address costs it nothing by being silent there.
    for _ in range(STRIKES_MAX):
        table.silent(Node(honest.id, "203.0.113.9", 1))
    assert table.contacts() == [honest]


def test_a_contact_that_answers_in_between_starts_anew() -> None:
    """A node with a poor line would lose all its contacts in an hour."""
    table = table_of([b"\1" * 20])
    contact = table.contacts()[0]
    for _ in range(5):
        assert not table.silent(contact)
        table.answered(contact)
    assert not table.silent(contact)
    assert table.silent(contact)
    assert table.contacts() == []


def test_link_local_addresses_are_in_nobodys_table() -> None:
    """Others would be told of contacts that mean something on one link only."""
    table = Table(ME, lambda: 0.0)
    neighbour = Node(bytes(20), "fe80::1%eth0", 47101)
    assert not table.has_room_for(neighbour)
    assert not table.answered(neighbour)
    assert table.contacts() == []
    assert table.answered(Node(bytes(20), "fd00::1", 47101))
