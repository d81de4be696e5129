"""A node's own membership: if it failed, a member would stay unseen, or nobody would know why."""

from __future__ import annotations

from fruitd.node.own_membership import OwnMembership
from swarm.admission import Admission
from swarm.joining import join
from swarm.news.store import RecordStore
from swarm.roll import Roll
from swarm.trust.root import TrustRoot
from swarm.trust.trusted_set import TrustedSet
from tests.swarm.trust.ceremony import key, trust_root
from tests.swarm.trust.fellowship import NOW_S, closed_root, revoked, token_file

NODE = key("pi-17")
OWN = join(token_file("batch"), NODE, closed_root(), NOW_S)


def node(root: TrustRoot) -> tuple[RecordStore, OwnMembership]:
    """A store, and the node's membership in it."""
    trusted = TrustedSet(root)
    store = RecordStore(Admission(trusted).verdict)
    return store, OwnMembership(NODE.node_id, Roll(store, trusted), OWN)


def test_it_shows_what_the_swarm_lacks_and_again_when_it_was_let_go() -> None:
    """A node whose certificate a full store let go would be gone for ever."""
    store, own = node(closed_root())
    assert not own.counts
    assert own.to_show(store) == [OWN.terms, OWN.member]
    for record in own.to_show(store):
        store.offer(record)
    assert own.counts
    assert (own.to_show(store), own.why_not()) == ([], "")
    store.forget("member", NODE.node_id)
    assert own.to_show(store) == [OWN.member]


def test_in_an_open_swarm_nothing_is_shown_and_nothing_lacks() -> None:
    """A node of a swarm without operators would be told to find a token."""
    store, own = node(trust_root())
    assert own.counts
    assert (own.to_show(store), own.why_not(), own.needed) == ([], "", False)


def test_it_says_why_it_does_not_count() -> None:
    """An operator would look for a fault where there is a revocation."""
    store, own = node(closed_root())
    assert "does not count: it is not known here" in own.why_not()
    own.shown("node was revoked by an operator: stolen")
    store.offer(revoked(NODE.node_id))
    assert own.why_not().endswith("node was revoked by an operator: stolen")
    own.certificate, own.trouble = None, "it has no join token"
    assert own.why_not() == "this node's status does not count: it has no join token"
