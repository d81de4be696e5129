"""The trust root file (`root.fruit`): one record of kind ``root``, as `Record.encode` writes it."""

from __future__ import annotations

from swarm.news.record import Record
from swarm.trust.root import ROOT_KIND, TrustRoot, check_root


def root_record(root: TrustRoot) -> Record:
    """The record that carries this root, unsigned."""
    return Record(ROOT_KIND, root.key, root.version, root.encode())


def load_root(data: bytes) -> TrustRoot:
    """The trust root in a file, whole and signed by the threshold of its own root keys.

    Raises `RefusedError`. Use `swarm.trust.root.read_root` to look at one that is not signed enough.
    """
    return check_root(Record.decode(data))
