"""A secret key that only its owner's passphrase opens. Pure: salt and nonce come from the caller.

The key file of type ``fruit-locked-key``: beside what all key files have, ``kdf`` (``argon2id``), ``kdf_passes``,
``kdf_memory_bytes``, ``salt`` (16 bytes), ``cipher`` (``xchacha20poly1305``), ``nonce`` (24 bytes) and ``locked``: the
seed, encrypted. Name and public half are authenticated with it, so that nobody passes one key off as another.

Source: RFC 9106 (Argon2), draft-irtf-cfrg-xchacha-03; libsodium's "moderate" costs.
"""

from __future__ import annotations

import unicodedata

import nacl.bindings
import nacl.exceptions
from attrs import frozen
from nacl.pwhash import argon2id

from swarm.errors import KeyFileError
from swarm.trust import key_document
from swarm.trust.key_document import Document
from swarm.trust.keys import KEY_BYTES, PublicKey, SecretKey

LOCKED_TYPE = "fruit-locked-key"
SALT_BYTES = 16
NONCE_BYTES = 24
PASSPHRASE_BYTES_MAX = 1024
PASSES_MAX = 16
MEMORY_BYTES_MAX = 1024**3
"""A file from elsewhere may ask for this much and no more; a machine with less memory says so."""
_MEMORY_BYTES_MIN = 8192
_KDF = "argon2id"
_CIPHER = "xchacha20poly1305"
_DOMAIN = b"fruit-locked-key-1\0"
_TAG_BYTES = 16


@frozen
class Cost:
    """What one guess of the passphrase costs. Larger: slower for the owner too, and more memory needed."""

    passes: int
    memory_bytes: int


MODERATE = Cost(3, 256 * 1024**2)
"""Under a second on a desktop, a few on a Pi; a guesser pays the same for every guess."""


@frozen
class LockedKey:
    """A secret key as it lies on a disk that may be stolen."""

    public: PublicKey
    cost: Cost
    salt: bytes
    nonce: bytes
    locked: bytes

    @classmethod
    def lock(
        cls, key: SecretKey, passphrase: str, *, salt: bytes, nonce: bytes, cost: Cost = MODERATE
    ) -> LockedKey:
        """Lock a key. `salt` (16 bytes) and `nonce` (24) must be random and new; raises `KeyFileError`."""
        wrapping = _wrapping_key(passphrase, salt, cost)
        locked = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            key.seed, _about(key.public), nonce, wrapping
        )
        return cls(key.public, cost, salt, nonce, locked)

    def unlock(self, passphrase: str) -> SecretKey:
        """The secret key; raises `KeyFileError` for any other passphrase. Takes time and memory by intention."""
        wrapping = _wrapping_key(passphrase, self.salt, self.cost)
        try:
            seed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                self.locked, _about(self.public), self.nonce, wrapping
            )
        except nacl.exceptions.CryptoError as error:
            raise KeyFileError("is not opened by this passphrase") from error
        key = SecretKey(seed, self.public.name)
        if key.public != self.public:
            raise KeyFileError("its public half does not belong to its seed: the file is damaged")
        return key

    def encode(self) -> bytes:
        """The locked key file."""
        own = {
            "kdf": _KDF,
            "kdf_passes": self.cost.passes,
            "kdf_memory_bytes": self.cost.memory_bytes,
            "salt": self.salt.hex(),
            "cipher": _CIPHER,
            "nonce": self.nonce.hex(),
            "locked": self.locked.hex(),
        }
        return key_document.encode({**self.public.described(LOCKED_TYPE), **own})

    @classmethod
    def decode(cls, data: bytes) -> LockedKey:
        """Read a locked key file; raises `KeyFileError`, also where opening it would cost more than is sane."""
        own = {"kdf", "kdf_passes", "kdf_memory_bytes", "salt", "cipher", "nonce", "locked"}
        document = key_document.decode(data, LOCKED_TYPE, own)
        if (document["kdf"], document["cipher"]) != (_KDF, _CIPHER):
            raise KeyFileError(f"is not locked with {_KDF} and {_CIPHER}; a newer fruit may open it")
        return cls(
            PublicKey.of_document(document),
            _cost(document),
            key_document.hex_bytes(document, "salt", SALT_BYTES),
            key_document.hex_bytes(document, "nonce", NONCE_BYTES),
            key_document.hex_bytes(document, "locked", KEY_BYTES + _TAG_BYTES),
        )


def _cost(document: Document) -> Cost:
    return Cost(
        key_document.count(document, "kdf_passes", 1, PASSES_MAX),
        key_document.count(document, "kdf_memory_bytes", _MEMORY_BYTES_MIN, MEMORY_BYTES_MAX),
    )


def _about(public: PublicKey) -> bytes:
    return _DOMAIN + public.raw + public.name.encode()


def _wrapping_key(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    # One passphrase is typed as different code points on different systems; NFC makes them one again.
    secret = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    if not 1 <= len(secret) <= PASSPHRASE_BYTES_MAX:
        raise KeyFileError(f"passphrase is not 1 to {PASSPHRASE_BYTES_MAX} bytes long")
    try:
        return argon2id.kdf(KEY_BYTES, secret, salt, cost.passes, cost.memory_bytes)
    except (nacl.exceptions.RuntimeError, MemoryError) as error:
        needed = cost.memory_bytes // 1024**2
        raise KeyFileError(
            f"needs {needed} MiB of free memory to be opened, and there is less here"
        ) from error
