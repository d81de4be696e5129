"""Ed25519 keys, and how they are written down. Pure: reading and writing files is `key_files`."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Any

import nacl.bindings
import nacl.exceptions
from attrs import field, frozen
from nacl.signing import SigningKey

from swarm.errors import KeyFileError
from swarm.trust import key_document
from swarm.trust.key_document import Document

KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_ID_CHARS = 16
"""64 bits name a key to people; whatever is decided is decided on the whole key."""
NODE_ID_BYTES = 20
"""The width of a BitTorrent peer id and of a Kademlia id: one name serves for all three."""
KEY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}")
"""A plain file name on every system, and never mistaken for an option."""

SECRET_TYPE = "fruit-secret-key"  # noqa: S105 - a file type, no password
PUBLIC_TYPE = "fruit-public-key"


def key_id(public_key: bytes) -> str:
    """The short name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:KEY_ID_CHARS]


def node_id_of(public_key: bytes) -> bytes:
    """The id of the node with this identity key: the first 20 bytes of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:NODE_ID_BYTES]


def verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True if `signature` over `message` was made by the secret half of `public_key` (64 and 32 bytes)."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def _check_raw(instance: object, attribute: Any, value: bytes) -> None:
    if len(value) != KEY_BYTES:
        raise KeyFileError(f"an Ed25519 {attribute.name} is {KEY_BYTES} bytes, this one is {len(value)}")


def _check_name(instance: object, attribute: Any, value: str) -> None:
    if not KEY_NAME.fullmatch(value):
        raise KeyFileError(
            f"key name {value[:80]!r} is not 1 to 64 letters, digits and ._@-, a letter or digit first"
        )


@frozen(slots=False)
class PublicKey:
    """A key that signatures are checked against, and the name its owner gave it."""

    raw: bytes = field(validator=_check_raw)
    name: str = field(validator=_check_name)

    @cached_property
    def key_id(self) -> str:
        """16 hex digits, for people."""
        return key_id(self.raw)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """True if this key signed `message`."""
        return verifies(self.raw, message, signature)

    def encode(self) -> bytes:
        """The public key file."""
        return key_document.encode(self.described(PUBLIC_TYPE))

    def described(self, kind: str) -> Document:
        """What every file about this key begins with."""
        return key_document.begin(kind, self.name, self.raw)

    @classmethod
    def decode(cls, data: bytes) -> PublicKey:
        """Read a public key file; raises `KeyFileError`. The public half of any other: `any_key.decode_key`."""
        return cls.of_document(key_document.decode(data, PUBLIC_TYPE, set()))

    @classmethod
    def of_document(cls, document: Document) -> PublicKey:
        """The public half that a checked document names."""
        return cls(key_document.hex_bytes(document, "public", KEY_BYTES), document["name"])


@frozen(slots=False)
class SecretKey:
    """A key that signs. Its repr names it and never shows the seed."""

    seed: bytes = field(validator=_check_raw, repr=False)
    name: str = field(validator=_check_name)

    @cached_property
    def signing_key(self) -> SigningKey:
        """The same key as pynacl knows it."""
        return SigningKey(self.seed)

    @cached_property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(bytes(self.signing_key.verify_key), self.name)

    @property
    def key_id(self) -> str:
        """16 hex digits, for people; the same as of the public half."""
        return self.public.key_id

    @property
    def node_id(self) -> bytes:
        """The id of the node whose identity this key is."""
        return node_id_of(self.public.raw)

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message."""
        return bytes(self.signing_key.sign(message).signature)

    def encode(self) -> bytes:
        """The secret key file: whoever reads it can sign."""
        return key_document.encode({**self.public.described(SECRET_TYPE), "seed": self.seed.hex()})

    @classmethod
    def decode(cls, data: bytes) -> SecretKey:
        """Read a secret key file; raises `KeyFileError`, with no part of the file in the message."""
        if key_document.type_of(data) == PUBLIC_TYPE:
            raise KeyFileError("is a public key; the secret half is needed here (the .key file)")
        document = key_document.decode(data, SECRET_TYPE, {"seed"})
        key = cls(key_document.hex_bytes(document, "seed", KEY_BYTES), document["name"])
        if key.public != PublicKey.of_document(document):
            raise KeyFileError("its public half does not belong to its seed: the file is damaged")
        return key
