"""What trust needs to see of a record. The records themselves belong to `swarm.news`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class SignatureLike(Protocol):
    """An Ed25519 signature and the key that made it."""

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...

    @property
    def signature(self) -> bytes:
        """64 bytes."""
        ...


class SignedFact(Protocol):
    """A record: kind, key, sequence, body, and signatures over `signed_bytes`."""

    @property
    def kind(self) -> str:
        """What the body means."""
        ...

    @property
    def key(self) -> bytes:
        """Which of its kind."""
        ...

    @property
    def sequence(self) -> int:
        """Its order among records of one kind and key."""
        ...

    @property
    def body(self) -> bytes:
        """The fact, encoded."""
        ...

    @property
    def signed_bytes(self) -> bytes:
        """Exactly what every signature is over; kind, key, sequence and body are in it."""
        ...

    @property
    def signatures(self) -> Sequence[SignatureLike]:
        """Claims until checked."""
        ...
