"""This node's own membership: what it shows for it, and why its status does not count where it does not."""

from __future__ import annotations

from swarm.joining import OwnCertificate
from swarm.news.record import Record
from swarm.news.store import RecordStore
from swarm.roll import Membership, Roll


class OwnMembership:
    """What the node knows about itself as a member.

    Args:
        certificate: None where it has never had a token.
        trouble: why not, or why a newer token on its card was not taken; "" where all is well.
    """

    def __init__(
        self, node_id: bytes, roll: Roll, certificate: OwnCertificate | None = None, trouble: str = ""
    ) -> None:
        self._node_id = node_id
        self.roll = roll
        self.certificate = certificate
        self.trouble = trouble
        self._refused = ""

    @property
    def needed(self) -> bool:
        """True where only members' statuses count."""
        return self.roll.closed

    @property
    def membership(self) -> Membership | None:
        """By which token it is a member; None where it is not."""
        return self.roll.membership(self._node_id)

    @property
    def counts(self) -> bool:
        """Whether other nodes take its status."""
        return not self.needed or self.membership is not None

    def to_show(self, store: RecordStore) -> list[Record]:
        """What the swarm has to have before this node's status counts, as far as the store lacks it, in that order.

        A store may have let the certificate go, for want of room or until a revocation was lifted: the node itself is
        where it comes from again.
        """
        own = self.certificate
        if own is None or not self.needed:
            return []
        terms, member = (store.get(record.kind, record.key) for record in (own.terms, own.member))
        lacking = [own.terms] if terms is None or terms.sequence < own.terms.sequence else []
        if member is None or member.sequence < own.member.sequence:
            lacking.append(own.member)
        return lacking

    def shown(self, refused: str) -> None:
        """How showing it went: "" or why it was refused."""
        self._refused = refused

    def why_not(self) -> str:
        """Why this node's status does not count; "" where it does, and what is wrong beside that."""
        if self.counts:
            return self.trouble if self.needed else ""
        why = self.trouble or self._refused or "it is not known here that this node is a member"
        return f"this node's status does not count: {why}"
