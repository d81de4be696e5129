"""The roll: if it failed, strangers would be shown among our nodes, or nodes would disagree for ever about who is one."""

from __future__ import annotations

import random
import tracemalloc

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.admission import Admission
from swarm.errors import NotYetError, Reason, RefusedError
from swarm.intake import Intake
from swarm.news.record import Record
from swarm.news.store import NEWS_LIMITS, RecordStore
from swarm.roll import Roll
from swarm.root_file import root_record
from swarm.signing import signed
from swarm.trust.root import TrustRoot
from swarm.trust.trusted_set import TrustedSet
from tests.swarm.trust.ceremony import ROOTS, key, trust_root
from tests.swarm.trust.fellowship import (
    NOW_S,
    OPERATORS,
    closed_root,
    member_record,
    revoked,
    status,
    token_file,
)

NODES = [key(f"pi-{n}") for n in range(3)]
OLD, NEW = token_file("old", site="attic"), token_file("new", nodes_max=1)


class Node:
    """A store, its roll and its intake."""

    def __init__(self, root: TrustRoot | None = None) -> None:
        trusted = TrustedSet(root or closed_root())
        self.store = RecordStore(Admission(trusted).verdict)
        self.roll = Roll(self.store, trusted)
        self.intake = Intake(self.store, self.roll, trusted)

    def take(self, *records: Record) -> Node:
        for record in records:
            self.intake.offer(record, "peer")
        return self

    def held(self) -> set[tuple[str, bytes, int]]:
        return {
            (r.kind, r.key, r.sequence)
            for kind in NEWS_LIMITS
            for entry in self.store.entries(kind)
            for r in entry.records
        }

    def statuses(self) -> set[bytes]:
        return {entry.records[0].key for entry in self.store.entries("status")}


def refusal(node: Node, record: Record) -> str:
    with pytest.raises(RefusedError) as refused:
        node.intake.publish(record)
    assert isinstance(refused.value, NotYetError), "it would be remembered as refused for ever"
    return str(refused.value)


def test_only_members_statuses_count():
    """If this failed, whoever has the swarm key could fill the list of nodes with inventions."""
    node, pi = Node(), NODES[0]
    assert "is not a member" in refusal(node, status(pi))
    assert "join token that is not here" in refusal(node, member_record(pi, OLD))
    node.take(OLD.terms, member_record(pi, OLD), status(pi), status(NODES[1]))
    assert node.statuses() == {pi.node_id}
    membership = node.roll.membership(pi.node_id)
    assert membership is not None
    assert (membership.token.name, membership.token.site, membership.since_s) == ("old", "attic", NOW_S)


def test_without_operators_the_swarm_is_open():
    """If this failed, swarms that need no membership would go blind."""
    node = Node(trust_root()).take(status(NODES[0]))
    assert not node.roll.closed
    assert node.statuses() == {NODES[0].node_id}
    with pytest.raises(RefusedError, match="nobody holds the operator role"):
        node.intake.publish(OLD.terms)


def test_revoking_a_node_or_a_token_ends_it_and_lifting_lets_it_come_again():
    """If this failed, a stolen node would stay among ours, or a mistake of an operator could not be mended."""
    first, second = NODES[:2]
    both = [OLD.terms, member_record(first, OLD), member_record(second, OLD), status(first), status(second)]
    node = Node().take(*both, revoked(first.node_id))
    assert node.statuses() == {second.node_id}
    assert "is not a member" in refusal(node, status(first, NOW_S + 1))
    assert "node was revoked by an operator: stolen" in refusal(node, member_record(first, OLD))
    node.take(revoked(OLD.token.token_id))
    assert node.statuses() == set()
    assert "join token old was revoked" in refusal(node, member_record(second, OLD))
    node.take(revoked(OLD.token.token_id, NOW_S + 1, lifted=True, reason=""), *both)
    assert node.statuses() == {second.node_id}


def test_a_token_can_be_closed_behind_those_who_are_in():
    """If this failed, a token that leaked would cost a visit to every node that ever joined by it."""
    first, second = NODES[:2]
    node = Node().take(OLD.terms, member_record(first, OLD), status(first))
    node.take(revoked(OLD.token.token_id, kept=(first.node_id,)), member_record(second, OLD), status(second))
    assert node.statuses() == {first.node_id}


def test_a_node_that_joins_again_is_shown_under_its_new_token():
    """If this failed, moving a node to another site would need a new identity."""
    pi = NODES[0]
    node = Node().take(OLD.terms, NEW.terms, member_record(pi, OLD), member_record(pi, NEW, NOW_S + 5))
    membership = node.roll.membership(pi.node_id)
    assert membership is not None
    assert membership.token.name == "new"


def test_too_many_are_shown_and_the_earliest_count_on_every_node_alike():
    """If this failed, a card meant for one node could be copied and nobody would see it."""
    records = [member_record(pi, NEW, NOW_S + n) for n, pi in enumerate(NODES)]
    for order in (records, records[::-1]):
        node = Node().take(NEW.terms, *order)
        assert node.roll.too_many() == {NODES[1].node_id, NODES[2].node_id}


def test_a_certificate_made_after_the_tokens_expiry_does_not_count():
    """If this failed, a card found in a drawer years later would still let a node in."""
    brief, endless = token_file("brief", expires_at_s=NOW_S), token_file("brief")
    late = member_record(NODES[0], endless, NOW_S + 1)
    assert "had expired" in refusal(Node().take(brief.terms), late)
    node = Node().take(brief.terms, member_record(NODES[0], brief, NOW_S - 1))
    assert node.roll.membership(NODES[0].node_id) is not None


def test_a_new_root_without_the_operator_takes_its_members_along_until_others_sign_the_terms() -> None:
    """If this failed, the tokens of an operator whose key was stolen would count for ever; or every node would have to be
    visited after a change of operators."""
    olga, otto = OPERATORS
    pi = NODES[0]
    node = Node(closed_root(operators=(olga,)))
    node.take(OLD.terms, member_record(pi, OLD), status(pi))
    assert node.statuses() == {pi.node_id}
    later = attrs.evolve(closed_root(operators=(otto,)), version=2)
    node.take(signed(root_record(later), *ROOTS))
    assert [kind for kind, _, _ in node.held() if kind != "root"] == []
    node.take(OLD.terms)
    assert node.roll.tokens() == []
    node.take(signed(OLD.terms, otto), member_record(pi, OLD), status(pi))
    assert node.statuses() == {pi.node_id}


def test_closing_an_open_swarm_lets_go_of_everybody_who_is_no_member() -> None:
    """If this failed, what strangers said while the swarm was open would stay in every list."""
    node = Node(trust_root()).take(*(status(pi) for pi in NODES))
    assert len(node.statuses()) == len(NODES)
    node.take(signed(root_record(attrs.evolve(closed_root(), version=2)), *ROOTS))
    assert node.statuses() == set()
    node.take(OLD.terms, member_record(NODES[0], OLD), *(status(pi) for pi in NODES))
    assert node.statuses() == {NODES[0].node_id}


@pytest.mark.parametrize(
    ("held", "offered", "reason"),
    [
        ([], status(NODES[0]), Reason.NOT_A_MEMBER),
        ([], member_record(NODES[0], OLD), Reason.NOT_YET),
        ([OLD.terms, revoked(NODES[0].node_id)], member_record(NODES[0], OLD), Reason.REVOKED),
        ([OLD.terms, revoked(OLD.token.token_id)], member_record(NODES[0], OLD), Reason.REVOKED),
        (
            [token_file("old", expires_at_s=NOW_S).terms],
            member_record(NODES[0], OLD, NOW_S + 1),
            Reason.EXPIRED,
        ),
    ],
)
def test_refusals_have_reasons_that_stay_the_same(
    held: list[Record], offered: Record, reason: Reason
) -> None:
    """If this failed, an alarm on invented nodes would be silent after a change of words."""
    with pytest.raises(RefusedError) as refused:
        Node().take(*held).intake.publish(offered)
    assert refused.value.reason is reason


def everything() -> list[Record]:
    """Nodes that join by two tokens, some of it revoked and lifted again, and what contradicts it."""
    first, second, third = NODES
    return [
        OLD.terms,
        NEW.terms,
        member_record(first, OLD),
        member_record(first, NEW, NOW_S + 3),
        member_record(second, OLD),
        member_record(third, NEW),
        status(first),
        status(second),
        status(third),
        status(key("stranger")),
        revoked(second.node_id),
        revoked(second.node_id, NOW_S + 1, lifted=True, reason=""),
        revoked(third.node_id, NOW_S + 2, reason="lost"),
        revoked(OLD.token.token_id, NOW_S, kept=(second.node_id,)),
        revoked(OLD.token.token_id, NOW_S, kept=(first.node_id,)),
    ]


def slow_oracle(records: list[Record]) -> set[bytes]:
    """Whose statuses count: offer everything, in every turn, to a node that has it all, until nothing changes."""
    node, before = Node(), None
    while node.held() != before:
        before = node.held()
        node.take(*records)
    return node.statuses()


@given(st.permutations(everything()), st.integers(0, 15))
@settings(max_examples=150, deadline=None)
def test_in_whatever_order_news_comes_all_nodes_agree(shuffled, left_out):
    """If this failed, two nodes that have heard the same would show different swarms, and compare for ever."""
    records = [r for n, r in enumerate(shuffled) if n != left_out]
    node, before = Node(), None
    while node.held() != before:
        before = node.held()
        node.take(*records)
    in_order = sorted(records, key=lambda r: (list(NEWS_LIMITS).index(r.kind), r.key, r.sequence))
    assert node.statuses() == slow_oracle(in_order)
    other, before = Node(), None
    while other.held() != before:
        before = other.held()
        other.take(*in_order)
    assert other.store.digest() == node.store.digest()


def test_two_stores_give_each_other_first_what_others_are_judged_by():
    """If this failed, a newcomer would refuse its first hundred statuses for want of certificates, and ask again."""
    full = Node().take(OLD.terms, *(member_record(pi, OLD) for pi in NODES), *(status(pi) for pi in NODES))
    given_kinds = [record.kind for record in full.store.missing_from([])]
    asked_kinds = [kind for kind, _ in Node().store.wanted(full.store.summary())]
    assert given_kinds == asked_kinds == ["token", *["member"] * 3, *["status"] * 3]
    newcomer = Node().take(*full.store.missing_from([]))
    assert newcomer.held() == full.held()


def test_ten_thousand_members_fit_a_small_pi() -> None:
    """If this failed, whoever has a token could fill the memory of every node."""
    rng, measured = random.Random(1), 2000
    template = member_record(NODES[0], OLD)
    store = RecordStore(lambda record: None)
    tracemalloc.start()
    for number in range(measured):
        signatures = tuple(attrs.evolve(s, signature=rng.randbytes(64)) for s in template.signatures)
        made = attrs.evolve(template, key=rng.randbytes(20), sequence=NOW_S + number, signatures=signatures)
        store.offer(Record.decode(made.encode()))  # as it comes from a peer: nothing is shared
    each_bytes = tracemalloc.get_traced_memory()[0] / measured
    tracemalloc.stop()
    assert len(store.entries("member")) == measured
    assert each_bytes * NEWS_LIMITS["member"].keys_max <= 14 * 2**20
