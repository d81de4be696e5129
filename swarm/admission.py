"""Which records enter the store: trust's judgement, put to news by kind."""

from __future__ import annotations

from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.status import STATUS_KIND, NodeStatus
from swarm.trust.keys import node_id_of, verifies
from swarm.trust.trusted_set import MANIFEST_KIND, TrustedSet


class Admission:
    """The verdict of a `RecordStore`.

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
        elif record.kind == STATUS_KIND:
            check_status(record)
        else:
            raise RefusedError(f"records of kind {record.kind!r:.40} are not known here")


def check_status(record: Record) -> NodeStatus:
    """The status in a record that its own node signed, or `RefusedError`."""
    if record.kind != STATUS_KIND:
        raise RefusedError(f"record is of kind {record.kind!r:.40}, a status is of kind {STATUS_KIND!r}")
    if len(record.signatures) != 1:
        raise RefusedError(f"status has {len(record.signatures)} signatures, it needs exactly one")
    signature = record.signatures[0]
    if node_id_of(signature.public_key) != record.key:
        raise RefusedError("status is signed by another node than the one it is about")
    if not verifies(signature.public_key, record.signed_bytes, signature.signature):
        raise RefusedError("status has a signature that does not verify")
    return NodeStatus.decode(record.body)
