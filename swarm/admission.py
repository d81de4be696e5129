"""Which records enter the store: trust's judgement, put to news by kind."""

from __future__ import annotations

from swarm.errors import Reason, RefusedError
from swarm.news.record import Record
from swarm.power import SAID_KINDS, check_said
from swarm.status import STATUS_KIND, NodeStatus
from swarm.switching import SWITCH_KIND, check_switch
from swarm.trust.freshness import FRESH_KIND
from swarm.trust.keys import node_id_of, verifies
from swarm.trust.root import ROOT_KIND
from swarm.trust.tokens import (
    MEMBER_KIND,
    REVOKE_KIND,
    TOKEN_KIND,
    check_certificate,
    check_revocation,
    check_token,
)
from swarm.trust.trusted_set import MANIFEST_KIND, TrustedSet


class Admission:
    """The verdict of a `RecordStore`: a function of the record and the trust root alone.

    Tokens and revocations need a threshold of operator keys, a certificate the key of its token and that of its node.
    Whether a certificate or a status counts beside what else is held is for `swarm.roll` to say.

    Manifests need a threshold of release keys. A status needs its own node's identity key and is believed
    about that
    node only: it changes nothing here.
    """

    def __init__(self, trusted: TrustedSet) -> None:
        self._trusted = trusted

    def verdict(self, record: Record) -> None:
        """Raise `RefusedError`, in words, unless the record may be held and passed on."""
        if record.kind == MANIFEST_KIND:
            self._trusted.check_manifest(record)
        elif record.kind == ROOT_KIND:
            self._trusted.check_root(record)
        elif record.kind == FRESH_KIND:
            self._trusted.check_freshness(record)
        elif record.kind == STATUS_KIND:
            check_status(record)
        elif record.kind == TOKEN_KIND:
            check_token(self._trusted.root, record)
        elif record.kind == MEMBER_KIND:
            check_certificate(record)
        elif record.kind == REVOKE_KIND:
            check_revocation(self._trusted.root, record)
        elif record.kind in SAID_KINDS:
            check_said(record)
        elif record.kind == SWITCH_KIND:
            check_switch(self._trusted.root, record)
        else:
            raise RefusedError(f"records of kind {record.kind!r:.40} are not known here", Reason.UNKNOWN_KIND)


def check_status(record: Record) -> NodeStatus:
    """The status in a record that its own node signed, or `RefusedError`."""
    if record.kind != STATUS_KIND:
        raise RefusedError(
            f"record is of kind {record.kind!r:.40}, a status is of kind {STATUS_KIND!r}", Reason.WRONG_KIND
        )
    if len(record.signatures) != 1:
        raise RefusedError(
            f"status has {len(record.signatures)} signatures, it needs exactly one", Reason.NOT_SIGNED
        )
    signature = record.signatures[0]
    if node_id_of(signature.public_key) != record.key:
        raise RefusedError("status is signed by another node than the one it is about", Reason.WRONG_NODE)
    if not verifies(signature.public_key, record.signed_bytes, signature.signature):
        raise RefusedError("status has a signature that does not verify", Reason.NOT_SIGNED)
    return NodeStatus.decode(record.body)
