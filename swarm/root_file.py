"""The trust root file (`root.fruit`): the chain of a swarm's trust roots, oldest first, each as `Record.encode` writes it.

A new file holds one root; each change of who may do what adds one. So whoever has the file can judge its newest root by
the one before, and any node that missed some can be given all of them. The oldest is believed because its owner put it
there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
from attrs import frozen

from swarm.errors import RefusedError
from swarm.news.record import RECORD_BYTES_MAX, Record
from swarm.trust.root import ROOT_KIND, TrustRoot, check_root, check_successor, read_root

ROOTS_MAX = 1024
"""Roots in one chain. TUF's example bound: three changes a year for three centuries."""
ROOT_FILE_BYTES_MAX = ROOTS_MAX * RECORD_BYTES_MAX


@frozen
class RootChain:
    """Trust roots that follow one another. All but the newest count; the newest may still lack signatures."""

    records: tuple[Record, ...]
    roots: tuple[TrustRoot, ...]

    @property
    def newest(self) -> TrustRoot:
        """The root at the chain's end."""
        return self.roots[-1]

    @property
    def newest_record(self) -> Record:
        """The record at the chain's end, with the signatures so far."""
        return self.records[-1]

    @property
    def before(self) -> TrustRoot | None:
        """The root that the newest one replaces; None where the chain is one root long."""
        return self.roots[-2] if len(self.roots) > 1 else None

    @classmethod
    def of(cls, records: Sequence[Record]) -> RootChain:
        """The chain of these records; raises `RefusedError` where one that is followed by another does not count."""
        if not 1 <= len(records) <= ROOTS_MAX:
            raise RefusedError(f"trust root file has {len(records)} roots, it needs 1 to {ROOTS_MAX}")
        roots: list[TrustRoot] = []
        for record in records[:-1]:
            roots.append(check_successor(roots[-1], record) if roots else check_root(record))
        newest = read_root(records[-1])
        if roots and (newest.swarm, newest.version) != (roots[-1].swarm, roots[-1].version + 1):
            raise RefusedError(
                f"trust root {newest.version} of swarm {newest.swarm!r} stands after {roots[-1].version} "
                f"of {roots[-1].swarm!r} in one file, and does not follow it"
            )
        return cls(tuple(records), (*roots, newest))

    @classmethod
    def decode(cls, data: bytes) -> RootChain:
        """Read a file; raises `RefusedError`. Whether the newest root counts is `check`'s to say."""
        return cls.of(_records(data))

    def encode(self) -> bytes:
        """The file."""
        return b"".join(record.encode() for record in self.records)

    def check(self) -> TrustRoot:
        """The newest root, if it counts; `RefusedError` saying what it lacks otherwise."""
        if self.before is None:
            return check_root(self.newest_record)
        return check_successor(self.before, self.newest_record)


def root_record(root: TrustRoot) -> Record:
    """The record that carries this root, unsigned."""
    return Record(ROOT_KIND, root.key, root.version, root.encode())


def load_root(data: bytes) -> TrustRoot:
    """The newest trust root in a file, whole and signed by enough of those before it and of its own root keys.

    Raises `RefusedError`. `RootChain.decode` also looks at one that is not signed enough.
    """
    return RootChain.decode(data).check()


def load_chain(data: bytes) -> RootChain:
    """As `load_root`, with the roots that led to it."""
    chain = RootChain.decode(data)
    chain.check()
    return chain


def _records(data: bytes) -> list[Record]:
    if len(data) > ROOT_FILE_BYTES_MAX:
        raise RefusedError(f"trust root file is larger than {ROOT_FILE_BYTES_MAX} bytes")
    unpacker = msgpack.Unpacker(max_buffer_size=ROOT_FILE_BYTES_MAX)
    unpacker.feed(data)
    records: list[Record] = []
    start = 0
    while start < len(data):
        if len(records) == ROOTS_MAX:
            raise RefusedError(f"trust root file has more than {ROOTS_MAX} roots")
        try:
            unpacker.skip()
        except (ValueError, msgpack.UnpackException) as error:
            raise RefusedError("trust root file is cut off or damaged") from error
        end = unpacker.tell()
        records.append(Record.decode(data[start:end]))
        start = end
    return records
