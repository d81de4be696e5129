"""Join tokens, certificates and node ids in the wrong hands."""

from __future__ import annotations

from attrs import evolve

from swarm.errors import Reason
from swarm.me import DIGEST_BYTES
from swarm.signing import signed
from tests.attacks.acts import let_in, said
from tests.attacks.court import NOW_S, key, status
from tests.attacks.stage import Stage, Touchable
from tests.attacks.table import story, unmoved


@story("membership", "a certificate by a token that has expired", "an expired token")
def _(s: Stage) -> None:
    old = s.court.new_token("expired", expires_at_s=NOW_S - 10)
    body_of = s.court.member(key("strange-node"), old, NOW_S - 20)
    late = signed(evolve(body_of, sequence=NOW_S + 5, signatures=()), old.key, key("strange-node"))
    let_in(s, old.terms)
    before = Touchable.of(s.victim)
    s.push(late)
    s.pass_time(3.0)
    said(s, "had expired", Reason.EXPIRED)
    unmoved(s, before)


@story("membership", "a certificate by a token that was revoked", "a stolen token")
def _(s: Stage) -> None:
    leaked = s.court.new_token("leaked")
    let_in(s, leaked.terms, s.court.revoked(leaked.token.token_id))
    before = Touchable.of(s.victim)
    s.push(s.court.member(key("strange-node"), leaked))
    s.pass_time(3.0)
    said(s, "was revoked by an operator", Reason.REVOKED)
    unmoved(s, before)


@story("membership", "a node that was revoked comes back with its old certificate", "a stolen card")
def _(s: Stage) -> None:
    strange = key("strange-node")
    let_in(s, s.court.member(strange), status(strange))
    let_in(s, s.court.revoked(strange.node_id))
    store = s.victim.node.store  # type: ignore[union-attr]
    assert store.get("member", strange.node_id) is None
    assert store.get("status", strange.node_id) is None
    before = Touchable.of(s.victim)
    s.push(s.court.member(strange, at_s=NOW_S + 50), status(strange, NOW_S + 60))
    s.pass_time(3.0)
    said(s, "node was revoked", Reason.REVOKED)
    unmoved(s, before)


@story("membership", "a stolen token makes nodes, and none of them speaks for others", "a stolen token")
def _(s: Stage) -> None:
    strange = key("strange-node")
    let_in(s, s.court.member(strange), status(strange))
    before = Touchable.of(s.victim)
    s.push(status(s.publisher.plan.identity, s.now_s() + 99, by=strange))
    s.pass_time(3.0)
    said(s, "another node", Reason.WRONG_NODE)
    unmoved(s, before)


@story("membership", "a liar takes the node id of the publisher")
def _(s: Stage) -> None:
    for _ in range(20):
        s.villain.send(s.at, s.villain.hello(node_id=s.publisher.plan.node_id, digest=bytes(DIGEST_BYTES)))
        s.pass_time(0.5)
    assert s.victim.node is not None
    address = {p.node_id: p.address for p in s.victim.node.swarm.peers()}[s.publisher.plan.node_id]
    assert address == s.address_of(s.publisher)


@story("membership", "a liar takes the victim's own node id")
def _(s: Stage) -> None:
    before = Touchable.of(s.victim)
    for _ in range(20):
        s.villain.send(s.at, s.villain.hello(node_id=s.victim.plan.node_id, ping=b"12345678"))
        s.pass_time(0.2)
    unmoved(s, before)
