"""Whatever can sign: a secret key in memory, or one that is kept elsewhere and asked."""

from __future__ import annotations

from typing import Protocol

from swarm.trust.keys import PublicKey


class Signer(Protocol):
    """An Ed25519 key that signs. A `SecretKey` is one; a command or an agent that holds the key is another."""

    @property
    def public(self) -> PublicKey:
        """The public half, and the name its owner gave it."""
        ...

    def sign(self, message: bytes) -> bytes:
        """64 bytes that the public half verifies; raises `KeyFileError` where the key cannot be used now."""
        ...
