"""Tokens, certificates and revocations: if these failed, anybody could call themselves one of us, or call others none."""

from __future__ import annotations

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.news.record import RECORD_BYTES_MAX, SIGNATURES_MAX
from swarm.signing import signed
from swarm.trust.tokens import (
    KEPT_MAX,
    Certificate,
    JoinToken,
    Revocation,
    check_certificate,
    check_revocation,
    check_token,
)
from tests.swarm.trust.ceremony import RELEASERS, STRANGER, key
from tests.swarm.trust.fellowship import (
    NOW_S,
    OPERATORS,
    closed_root,
    member_record,
    revoked,
    token_file,
)

NODE = key("pi-17")
TERMS = {"expires_at_s": NOW_S + 9, "nodes_max": 40, "site": "attic", "labels": (("rack", "3"), ("row", "é"))}
TOKEN = token_file("batch", **TERMS)
MEMBER = member_record(NODE, TOKEN)


def test_what_operators_signed_is_read_back():
    """If this failed, an operator's terms would be lost on the way to the nodes."""
    token = check_token(closed_root(), TOKEN.terms)
    assert (token.name, token.site, token.nodes_max, dict(token.labels)["row"]) == ("batch", "attic", 40, "é")
    assert check_certificate(MEMBER) == Certificate(token.token_id)
    revocation = check_revocation(closed_root(), revoked(token.token_id, kept=(NODE.node_id,)))
    assert (revocation.of_token, revocation.kept, revocation.reason) == (True, (NODE.node_id,), "stolen")
    assert not check_revocation(closed_root(), revoked(NODE.node_id)).of_token


def test_one_operator_below_the_threshold_admits_and_revokes_nobody():
    """If this failed, one stolen operator key would do what takes two."""
    root = closed_root(threshold=2)
    for check, record in ((check_token, TOKEN.terms), (check_revocation, revoked(NODE.node_id))):
        with pytest.raises(RefusedError, match="has 1 valid signatures by operator keys"):
            check(root, record)
        check(root, signed(record, OPERATORS[1]))
        with pytest.raises(RefusedError, match="has 0 valid signatures"):
            check(root, signed(attrs.evolve(record, signatures=()), *RELEASERS, STRANGER))


def test_a_certificate_needs_its_token_and_its_node():
    """If this failed, a node could let itself in, or be made to look like another."""
    unsigned = attrs.evolve(MEMBER, signatures=())
    for forged, said in [
        (unsigned, "0 signatures"),
        (signed(unsigned, NODE), "1 signatures"),
        (signed(unsigned, NODE, STRANGER), "not signed by the key of its token"),
        (signed(unsigned, TOKEN.key, STRANGER), "another node"),
        (signed(MEMBER, STRANGER), "3 signatures"),
        (attrs.evolve(MEMBER, sequence=MEMBER.sequence + 1), "does not verify"),
        (attrs.evolve(MEMBER, kind="status"), "kind"),
    ]:
        with pytest.raises(RefusedError, match=said):
            check_certificate(forged)


def test_another_swarms_words_and_words_under_another_key_are_refused():
    """If this failed, tokens and revocations could be carried from one swarm, or one target, to another."""
    token = TOKEN.token
    for changed in ({"swarm": "nuts"}, {"public": STRANGER.public.raw}):
        body = attrs.evolve(token, **changed).encode()
        with pytest.raises(RefusedError, match=r"another token|for swarm"):
            check_token(closed_root(), signed(attrs.evolve(TOKEN.terms, body=body), OPERATORS[0]))
    other = revoked(STRANGER.node_id)
    for moved in (
        attrs.evolve(other, key=NODE.node_id),
        attrs.evolve(other, body=Revocation("nuts", STRANGER.node_id, False, "").encode()),
    ):
        with pytest.raises(RefusedError, match=r"another key|for swarm"):
            check_revocation(closed_root(), signed(attrs.evolve(moved, signatures=()), OPERATORS[0]))


def test_a_record_of_one_kind_is_none_of_another():
    """If this failed, a signature for one thing would count for another."""
    for check in (check_certificate, lambda r: check_token(closed_root(), r)):
        with pytest.raises(RefusedError, match="kind"):
            check(revoked(NODE.node_id))
    with pytest.raises(RefusedError, match="kind"):
        check_revocation(closed_root(), TOKEN.terms)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "n" * 41},
        {"name": "a\nb"},
        {"site": "s" * 41},
        {"expires_at_s": -1},
        {"nodes_max": True},
        {"nodes_max": 2_000_000},
        {"public": b"short"},
        {"swarm": ""},
        {"labels": (("Rack", "3"),)},
        {"labels": (("rack", "3"), ("rack", "4"))},
        {"labels": tuple((f"l{n}", "") for n in range(9))},
        {"labels": (("rack", "3" * 41),)},
    ],
)
def test_terms_beyond_the_bounds_are_refused_when_they_are_made(wrong):
    """If this failed, an operator would sign what no node takes."""
    with pytest.raises(RefusedError):
        attrs.evolve(TOKEN.token, **wrong)


def test_a_revocation_that_makes_no_sense_is_refused():
    """If this failed, an operator would believe to have kept nodes that are gone."""
    token_id, node_id = TOKEN.token.token_id, NODE.node_id
    for wrong in (
        lambda: Revocation("fruits", b"neither", False, ""),
        lambda: Revocation("fruits", node_id, False, "", (node_id,)),
        lambda: Revocation("fruits", token_id, True, "", (node_id,)),
        lambda: Revocation("fruits", token_id, False, "", (token_id,)),
        lambda: Revocation("fruits", token_id, False, "r" * 161),
        lambda: Revocation(
            "fruits", token_id, False, "", tuple(n.to_bytes(20, "big") for n in range(KEPT_MAX + 1))
        ),
    ):
        with pytest.raises(RefusedError):
            wrong()


def test_the_largest_words_fit_a_record():
    """If this failed, a revocation that keeps many nodes could be signed and not sent."""
    kept = tuple(n.to_bytes(20, "big") for n in range(KEPT_MAX))
    signers = [key(f"operator-{n}") for n in range(8)]
    worst = revoked(TOKEN.token.token_id, 2**53 - 1, *signers, reason="\U0001f34e" * 160, kept=kept)
    assert len(worst.encode()) <= RECORD_BYTES_MAX
    wide = "\U0001f34e" * 40
    terms = {"site": wide, "labels": tuple((f"label-{n}" + "x" * 16, wide) for n in range(8))}
    signers = [key(f"operator-{n}") for n in range(min(8, SIGNATURES_MAX))]
    assert len(token_file("n" * 40, *signers, **terms).terms.encode()) <= RECORD_BYTES_MAX


CODECS = {
    JoinToken: TOKEN.token.encode(),
    Certificate: MEMBER.body,
    Revocation: Revocation("fruits", TOKEN.token.token_id, False, "why", (NODE.node_id,)).encode(),
}


@pytest.mark.parametrize("codec", CODECS)
def test_every_wrong_field_is_refused(codec):
    """If this failed, a record could carry what no list can show."""
    fields = len(msgpack.unpackb(CODECS[codec]))
    for at in range(fields):
        for wrong in (None, -1, 1.5, "x" * 200, "a\0b", b"seven77", [1], [["a", 1]], {}):
            value = msgpack.unpackb(CODECS[codec])
            value[at] = wrong
            with pytest.raises(RefusedError):
                codec.decode(msgpack.packb(value))
    for damaged in (
        CODECS[codec] + b"\0",
        CODECS[codec][:-1],
        b"",
        msgpack.packb([1]),
        msgpack.packb([2, b""]),
    ):
        with pytest.raises(RefusedError):
            codec.decode(damaged)


@pytest.mark.fuzz
@pytest.mark.parametrize("codec", CODECS)
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_fuzz_only_refusals_escape(codec, data):
    """If this failed, one record could stop every node."""
    raw = bytearray(CODECS[codec])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for candidate in (bytes(raw), data.draw(st.binary(max_size=80))):
        try:
            made = codec.decode(candidate)
        except RefusedError:
            continue
        assert made.encode() == candidate
