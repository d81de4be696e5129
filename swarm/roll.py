"""The roll: who is a member, by which token, as far as this node's records tell. Pure.

A swarm is *closed* once its trust root gives somebody the operator role; then only members' statuses count. Otherwise it
is open, and everybody's do. A node is a member while the store holds its certificate and the token that it names, and no
operator has revoked either. The answer is a function of what the store holds, in whatever order it came: what must wait
for something else is refused as `NotYetError` and comes again; what a revocation overtakes falls out of the store.

A token's limit is no gate: two halves of a swarm that cannot hear each other could each let the last node in. Every
certificate is held, the earliest count, and the others are shown as too many.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from attrs import frozen

from swarm.errors import NotYetError, Reason, RefusedError
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.power import SAID_KINDS
from swarm.status import STATUS_KIND
from swarm.trust.keys import NODE_ID_BYTES
from swarm.trust.root import Role
from swarm.trust.tokens import (
    MEMBER_KIND,
    REVOKE_KIND,
    TOKEN_KIND,
    Certificate,
    JoinToken,
    Revocation,
)
from swarm.trust.trusted_set import TrustedSet

DECODED_MAX = 64
"""Tokens kept decoded; a swarm uses a few at a time."""
MEMBERS_KINDS = (STATUS_KIND, *sorted(SAID_KINDS))
"""What nodes say for themselves. Keys begin with the id of the node that says it; where the swarm is closed, only members'
count."""
ROLL_KINDS = frozenset({TOKEN_KIND, REVOKE_KIND})
"""Records of these kinds may end somebody's membership, or let it count again."""


@frozen
class Membership:
    """One node's membership, by a token that counts."""

    node_id: bytes
    token: JoinToken
    since_s: int
    """When its certificate was made, by its own word."""


class Roll:
    """Who is a member. Looks at the store and at the trust root, which both change under it."""

    def __init__(self, store: RecordStore, trusted: TrustedSet) -> None:
        self._store = store
        self._trusted = trusted

    @property
    def closed(self) -> bool:
        """True where only members count: the trust root gives somebody the operator role."""
        return bool(self._trusted.root.roles[Role.OPERATOR].keys)

    # ------------------------------------------------------------------ the gate

    def check(self, record: Record) -> None:
        """Raise `NotYetError`, in words, if this record does not count by what is held now; later it may.

        Cheap: no signature is checked. The record's own are the business of `swarm.admission`.
        """
        if record.kind == MEMBER_KIND:
            self._check_certificate(record.key, record)
        elif record.kind in MEMBERS_KINDS and self.closed:
            node_id = record.key[:NODE_ID_BYTES]
            held = self._member_record(node_id)
            if held is None:
                raise NotYetError(
                    f"{record.kind} of a node that is not a member: its certificate is not here",
                    Reason.NOT_A_MEMBER,
                )
            self._check_certificate(node_id, held)

    def _check_certificate(self, node_id: bytes, record: Record) -> JoinToken:
        revoked = self.revocation_of(node_id)
        if revoked is not None:
            raise NotYetError(f"node was revoked by an operator: {revoked.reason}", Reason.REVOKED)
        token_id = Certificate.decode(record.body).token_id
        token = self.token(token_id)
        if token is None:
            raise NotYetError("certificate under a join token that is not here")
        revoked = self.revocation_of(token_id)
        if revoked is not None and node_id not in revoked.kept:
            raise NotYetError(
                f"join token {token.name} was revoked by an operator: {revoked.reason}", Reason.REVOKED
            )
        if token.expired(record.sequence):
            raise NotYetError(
                f"certificate was made after join token {token.name} had expired", Reason.EXPIRED
            )
        return token

    def fallen(self) -> list[tuple[str, bytes]]:
        """The (kind, key) of certificates and statuses that are held and do not count any more."""
        fallen = [
            (MEMBER_KIND, entry.records[0].key)
            for entry in self._store.entries(MEMBER_KIND)
            if not self._stands(entry.records[0])
        ]
        if self.closed:
            fallen += [name for name in self._said() if self.membership(name[1][:NODE_ID_BYTES]) is None]
        return fallen

    def fallen_with(self, member_ids: Iterable[bytes]) -> list[tuple[str, bytes]]:
        """As `fallen`, where nothing but these certificates has changed."""
        if not self.closed:
            return []
        gone = {node_id for node_id in member_ids if self.membership(node_id) is None}
        return [name for name in self._said() if name[1][:NODE_ID_BYTES] in gone] if gone else []

    # ------------------------------------------------------------------ the answers

    def membership(self, node_id: bytes) -> Membership | None:
        """How this node is a member; None if it is not, or nobody can be."""
        record = self._member_record(node_id)
        if record is None:
            return None
        try:
            token = self._check_certificate(node_id, record)
        except RefusedError:
            return None
        return Membership(node_id, token, record.sequence)

    def members(self) -> dict[bytes, list[Membership]]:
        """All members by the id of their token, the earliest first: those within the token's limit come first."""
        found: dict[bytes, list[Membership]] = {token.token_id: [] for token in self.tokens()}
        for entry in self._store.entries(MEMBER_KIND):
            member = self.membership(entry.records[0].key)
            if member is not None:
                found[member.token.token_id].append(member)
        for by_token in found.values():
            by_token.sort(key=lambda member: (member.since_s, member.node_id))
        return found

    def too_many(self) -> frozenset[bytes]:
        """Members beyond the limits of their tokens: shown, and not counted."""
        limited = [members for members in self.members().values() if _limit(members)]
        return frozenset(member.node_id for members in limited for member in members[_limit(members) :])

    def tokens(self) -> list[JoinToken]:
        """All tokens, ordered by id; revoked ones too."""
        found = (self.token(entry.records[0].key) for entry in self._store.entries(TOKEN_KIND))
        return [token for token in found if token is not None]

    def token(self, token_id: bytes) -> JoinToken | None:
        """The terms with this id; None where they are not held, or contradict each other."""
        entry = self._store.get(TOKEN_KIND, token_id)
        record = entry.record if entry is not None else None
        return _decoded(record.body) if record is not None else None

    def revocations(self) -> list[Revocation]:
        """Everything that is revoked now, ordered by id."""
        found = (self.revocation_of(entry.records[0].key) for entry in self._store.entries(REVOKE_KIND))
        return [revocation for revocation in found if revocation is not None]

    def revocation_of(self, target: bytes) -> Revocation | None:
        """What revokes this token or node. Of two words that contradict each other, one that revokes is heeded."""
        entry = self._store.get(REVOKE_KIND, target)
        said = [Revocation.decode(record.body) for record in entry.records] if entry is not None else []
        return next((revocation for revocation in said if not revocation.lifted), None)

    # ------------------------------------------------------------------ inside

    def _stands(self, record: Record) -> bool:
        """Whether a certificate may stay. Two that contradict each other stay, as proof, and neither counts."""
        try:
            self._check_certificate(record.key, record)
        except RefusedError:
            return False
        return True

    def _said(self) -> list[tuple[str, bytes]]:
        """(kind, key) of all that nodes said for themselves."""
        return [(kind, e.records[0].key) for kind in MEMBERS_KINDS for e in self._store.entries(kind)]

    def _member_record(self, node_id: bytes) -> Record | None:
        entry = self._store.get(MEMBER_KIND, node_id)
        return entry.record if entry is not None else None


def _limit(members: list[Membership]) -> int:
    """How many of these, who came by one token, count; 0: all of them."""
    return members[0].token.nodes_max if members else 0


@lru_cache(maxsize=DECODED_MAX)
def _decoded(body: bytes) -> JoinToken:
    return JoinToken.decode(body)
