"""Blobs prove themselves: their id is computed from their bytes, chunk by chunk as they arrive.

Checking as they come keeps each step short: a block index of 2 MiB takes 130,000 hashes, which in one go
would stop a Raspberry Pi from answering anybody for half a second.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from bep35.merkle import BLOCK_BYTES, HASH_BYTES, root_of, root_of_layer
from swarm.wire import CHUNK_BYTES

_LEAVES_PER_CHUNK = CHUNK_BYTES // HASH_BYTES


class BlobCheck(Protocol):
    """Takes a blob's chunks in order; every chunk but the last is `CHUNK_BYTES` long."""

    def add(self, chunk: bytes) -> None:
        """The next chunk."""
        ...

    def blob_id(self) -> bytes:
        """The id that the bytes added so far have. Called once, at the end."""
        ...


class FileCheck:
    """Id: SHA-256 of the bytes."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """The next chunk."""
        self._hash.update(chunk)

    def blob_id(self) -> bytes:
        """SHA-256 of what was added."""
        return self._hash.digest()


class LeavesCheck:
    """Id: the BEP-52 root over the leaves, 32 bytes each. A chunk is a whole subtree; at the end the subtrees
    are joined."""

    def __init__(self) -> None:
        self._subtrees: list[bytes] = []
        self._last = b""
        self._whole = True

    def add(self, chunk: bytes) -> None:
        """The next chunk, whole leaves."""
        self._whole = self._whole and len(chunk) % HASH_BYTES == 0 and len(chunk) > 0
        if not self._whole:
            return
        padding = bytes(CHUNK_BYTES - len(chunk))
        self._subtrees.append(root_of(chunk + padding))
        self._last = chunk

    def blob_id(self) -> bytes:
        """The root over what was added; no id at all (empty) if that was not whole leaves."""
        if not self._whole or not self._subtrees:
            return b""
        if len(self._subtrees) == 1:
            return root_of(self._last)
        return root_of_layer(b"".join(self._subtrees), _LEAVES_PER_CHUNK * BLOCK_BYTES)


def check_for(kind: str) -> BlobCheck | None:
    """A fresh check for a kind of blob; None for a kind nobody knows."""
    if kind == "torrent":
        return FileCheck()
    if kind == "leaves":
        return LeavesCheck()
    return None
