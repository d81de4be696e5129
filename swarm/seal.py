"""Sealing: everything nodes say to each other is closed with a swarm key (design D7).

A sealed message is::

    1 byte   version (1)
    4 bytes  key id: which key of the ring
    24 bytes nonce
    n bytes  XChaCha20-Poly1305 ciphertext
    16 bytes tag, over the ciphertext, the 29 bytes before it and a *context*

The context says what the message is for and is not sent: a sealed datagram cannot be passed off as a stream's
reply, nor the reply of one connection as that of another. The swarm key keeps strangers out; it makes nobody
trusted. A recorded message can be sent again by a stranger, so nothing that is only sealed may be a step that
cannot be taken back.

Source: libsodium, crypto_aead_xchacha20poly1305_ietf.
"""

from __future__ import annotations

import hashlib

from attrs import field, frozen
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from swarm.errors import KeyFileError, Reason, RefusedError

KEY_BYTES = 32
KEYS_MAX = 8
"""A ring holds the key in use, the one before and the one to come; more are forgotten keys."""
NONCE_BYTES = 24
TAG_BYTES = 16
KEY_ID_BYTES = 4
HEADER_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
UNKNOWN_KEY = "sealed with a key that is not in this keyring"
_VERSION = b"\x01"


def key_id(key: bytes) -> bytes:
    """Four bytes that name a key without telling anything about it."""
    return hashlib.sha256(b"fruit-swarm-key-id-1\0" + key).digest()[:KEY_ID_BYTES]


def _check_keys(_instance: object, _attribute: object, keys: tuple[bytes, ...]) -> None:
    if not 1 <= len(keys) <= KEYS_MAX:
        raise KeyFileError(f"a keyring holds 1 to {KEYS_MAX} swarm keys, not {len(keys)}")
    if any(len(key) != KEY_BYTES for key in keys):
        raise KeyFileError(f"a swarm key is {KEY_BYTES} bytes long")
    if len(set(map(key_id, keys))) != len(keys):
        raise KeyFileError("the same swarm key stands in the keyring twice")


@frozen
class Keyring:
    """Swarm keys: the first seals, all of them open, so that a key can be changed node by node.

    Raises `KeyFileError` for no keys, too many, one of a wrong length, or the same one twice.
    """

    keys: tuple[bytes, ...] = field(validator=_check_keys, repr=False)
    _by_id: dict[bytes, bytes] = field(init=False, repr=False, eq=False)

    @_by_id.default
    def _index(self) -> dict[bytes, bytes]:
        return {key_id(key): key for key in self.keys}

    def seal(self, data: bytes, context: bytes, nonce: bytes) -> bytes:
        """Close `data` for `context`. `nonce` is 24 bytes that are never used twice with one key: take them
        at random."""
        key = self.keys[0]
        header = _VERSION + next(iter(self._by_id)) + nonce
        return header + crypto_aead_xchacha20poly1305_ietf_encrypt(data, header + context, nonce, key)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open what `seal` closed for the same context; raises `RefusedError` on everything else.

        The errors' words are few and fixed, so that they can be counted.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise RefusedError("too short to be sealed", Reason.NOT_SEALED)
        if sealed[:1] != _VERSION:
            raise RefusedError("not a sealed message of version 1", Reason.NOT_SEALED)
        key = self._by_id.get(sealed[1 : 1 + KEY_ID_BYTES])
        if key is None:
            raise RefusedError(UNKNOWN_KEY, Reason.NOT_SEALED)
        header, nonce = sealed[:HEADER_BYTES], sealed[1 + KEY_ID_BYTES : HEADER_BYTES]
        try:
            return bytes(
                crypto_aead_xchacha20poly1305_ietf_decrypt(
                    sealed[HEADER_BYTES:], header + context, nonce, key
                )
            )
        except CryptoError:
            words = "sealed message was changed on its way, or meant for something else"
            raise RefusedError(words, Reason.NOT_SEALED) from None
