"""Tokens, certificates, revocations and statuses that nobody should believe, each wrong in one way."""

from __future__ import annotations

from attrs import evolve

from swarm.errors import Reason
from swarm.joining import token_record
from swarm.me import NODE_ID_BYTES
from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.root import Role
from swarm.trust.tokens import Certificate
from tests.attacks.acts import MIX, NO, NODE, NONE_VALID, ONE_VALID, SWARM, YET, Records
from tests.attacks.court import KEYS, MALLORY, NOW_S, key, status
from tests.attacks.stage import Stage
from tests.attacks.table import lie

STRANGE = key("strange-node")


@lie("membership", "a status without a certificate", "the swarm key", "not a member", Reason.NOT_A_MEMBER)
def _(s: Stage) -> Records:
    return [status(STRANGE)]


@lie("membership", "a status for another node", "a member's identity", "another node", NODE)
def _(s: Stage) -> Records:
    return [status(s.publisher.plan.identity, s.now_s() + 99, by=s.villain.identity)]


@lie("membership", "a status with two signatures", "two members' identities", "exactly one", NO)
def _(s: Stage) -> Records:
    said = status(s.publisher.plan.identity, s.now_s() + 99)
    return [signed(said, s.villain.identity)]


@lie(
    "membership",
    "a certificate under a token of one's own",
    "the swarm key",
    "a join token that is not here",
    YET,
)
def _(s: Stage) -> Records:
    token = s.court.new_token("own")
    return [s.court.member(STRANGE, token)]


for channel in ("push", "exchange", "local"):
    lie(
        "key compromise", f"a token by one operator, {channel}", "one operator key", ONE_VALID, NO, by=channel
    )(lambda s: [s.court.new_token("forged", KEYS[Role.OPERATOR][:1]).terms])
    lie(
        "key compromise",
        f"a revocation by one operator, {channel}",
        "one operator key",
        ONE_VALID,
        NO,
        by=channel,
    )(lambda s: [s.court.revoked(s.publisher.plan.node_id, KEYS[Role.OPERATOR][:1])])


@lie("key compromise", "a token by all release keys", "all release keys", NONE_VALID, NO)
def _(s: Stage) -> Records:
    return [s.court.new_token("forged", s.court.keys[Role.RELEASE]).terms]


@lie(
    "membership",
    "a certificate that the token's key did not sign",
    "a member's identity",
    "not signed by the key of its token",
    NO,
)
def _(s: Stage) -> Records:
    body = Certificate(s.court.token.token.token_id).encode()
    return [signed(Record("member", STRANGE.node_id, NOW_S, body), STRANGE, MALLORY)]


@lie(
    "membership",
    "somebody else's certificate",
    "a stolen token",
    "another node than the one it is about",
    NODE,
)
def _(s: Stage) -> Records:
    good = s.court.member(STRANGE)
    return [
        signed(
            evolve(good, key=s.publisher.plan.node_id, sequence=NOW_S + 9, signatures=()),
            s.court.token.key,
            STRANGE,
        )
    ]


@lie("membership", "a certificate with a signature too many", "a stolen token", "exactly 2", NO)
def _(s: Stage) -> Records:
    return [signed(s.court.member(STRANGE), MALLORY)]


@lie(
    "membership",
    "the certificate of one node for another",
    "old news",
    "another node than the one it is about",
    NODE,
)
def _(s: Stage) -> Records:
    return [evolve(s.court.member(s.publisher.plan.identity), key=STRANGE.node_id)]


@lie("membership", "a node id that is another's with a bit changed", "a stolen token", "another node", NODE)
def _(s: Stage) -> Records:
    near = bytes([s.publisher.plan.node_id[0] ^ 1]) + s.publisher.plan.node_id[1:]
    assert len(near) == NODE_ID_BYTES
    return [evolve(s.court.member(STRANGE), key=near)]


@lie(
    "mix-and-match", "a token of another swarm", "operators of both swarms", "join token is for swarm", SWARM
)
def _(s: Stage) -> Records:
    return [s.court.new_token("other", swarm="other").terms]


@lie(
    "mix-and-match",
    "a revocation of another swarm",
    "operators of both swarms",
    "revocation is for swarm",
    SWARM,
)
def _(s: Stage) -> Records:
    return [s.court.revoked(s.publisher.plan.node_id, swarm="other")]


@lie("mix-and-match", "a revocation under another target's key", "operators", "under another key", MIX)
def _(s: Stage) -> Records:
    made = s.court.revoked(STRANGE.node_id)
    return [signed(evolve(made, key=s.publisher.plan.node_id, signatures=()), *s.court.quorum(Role.OPERATOR))]


@lie("mix-and-match", "a token under another token's key", "operators", "another token's key", MIX)
def _(s: Stage) -> Records:
    made = token_record(s.court.new_token("two").token, NOW_S)
    return [signed(evolve(made, key=s.court.token.token.token_id), *s.court.quorum(Role.OPERATOR))]
