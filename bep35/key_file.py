"""Reading the key files that `fruit key new` writes, and private keys in PEM.

Ours are one JSON object. Public: `{"type": "fruit-public-key", "version": 1, "algorithm": "ed25519", "name": ...,
"public": 64 hex digits}`. Secret: the type is `fruit-secret-key`, and `"seed"`, 64 hex digits, stands beside
the rest.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from bep35.errors import KeyFileError

FILE_BYTES_MAX = 4096
"""A key file needs about 300."""
PEM_BYTES_MAX = 32 * 1024
"""An RSA key of 8,192 bits is 6.4 KB."""
_PUBLIC, _SECRET = "fruit-public-key", "fruit-secret-key"
_ELSEWHERE = ("fruit-locked-key", "fruit-command-key")
"""Keys that only the fruit command opens: with a passphrase, or by asking a program."""
_FIELDS = {
    _PUBLIC: {"type", "version", "algorithm", "name", "public"},
    _SECRET: {"type", "version", "algorithm", "name", "public", "seed"},
}


def read_public(path: Path) -> bytes:
    """The 32 bytes of the public key in `path`, which may also be a secret key file; `KeyFileError`
    otherwise."""
    fields, _ = _read(path)
    return _key_bytes(fields, "public", path)


def read_secret(path: Path) -> SigningKey:
    """The Ed25519 signing key in `path`.

    Raises:
        KeyFileError: no secret key file, readable by others than its owner, or its two halves do not belong
            together.
    """
    fields, mode = _read(path)
    if fields["type"] != _SECRET:
        raise KeyFileError(f"{path} holds a public key; signing needs the secret key file")
    _check_private(path, mode)
    signing_key = SigningKey(_key_bytes(fields, "seed", path))
    if bytes(signing_key.verify_key) != _key_bytes(fields, "public", path):
        raise KeyFileError(f"{path} is damaged: its public key does not belong to its seed")
    return signing_key


def is_pem(path: Path) -> bool:
    """Whether this file holds PEM, rather than one of our own key files."""
    text, _ = _content(path, PEM_BYTES_MAX)
    return b"-----BEGIN " in text


def read_private_pem(path: Path) -> bytes:
    """The content of a file with a private key; `KeyFileError` where others than its owner can use it."""
    text, mode = _content(path, PEM_BYTES_MAX)
    _check_private(path, mode)
    return text


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The checked fields of a key file, and the mode of the very file they were read from."""
    text, mode = _content(path, FILE_BYTES_MAX)
    if len(text) > FILE_BYTES_MAX:
        raise KeyFileError(f"{path} is not a key file: larger than {FILE_BYTES_MAX} bytes")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeyFileError(f"{path} is not a key file: not JSON") from error
    if isinstance(fields, dict) and fields.get("type") in _ELSEWHERE:
        raise KeyFileError(f"{path} is a key of type {fields['type']}; sign with it by: fruit release sign")
    if not isinstance(fields, dict) or fields.keys() != _FIELDS.get(str(fields.get("type"))):
        raise KeyFileError(f"{path} is not a key file of a known type with exactly its fields")
    if fields["version"] != 1 or isinstance(fields["version"], bool) or fields["algorithm"] != "ed25519":
        raise KeyFileError(f"{path} is not an ed25519 key file of version 1; a newer program may read it")
    return fields, mode


def _content(path: Path, bytes_max: int) -> tuple[bytes, int]:
    """At most one byte more than allowed, and the mode of the very file it was read from."""
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max + 1), os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise KeyFileError(f"cannot read key file {path}: {error.strerror}") from error


def _check_private(path: Path, mode: int) -> None:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"{path} can be used by others than its owner; run: chmod 600 {path}")


def _key_bytes(fields: dict[str, Any], name: str, path: Path) -> bytes:
    digits = fields[name]
    if isinstance(digits, str) and len(digits) == 64 and set(digits) <= set("0123456789abcdef"):
        return bytes.fromhex(digits)
    raise KeyFileError(f"{path} is damaged: {name} is not 64 lower-case hex digits")
