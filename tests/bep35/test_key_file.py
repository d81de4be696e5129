"""Key files: only whole ones are used, secret ones only while they are secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from bep35.errors import KeyFileError
from bep35.key_file import read_public, read_secret

KEY = SigningKey(b"k" * 32)
PUBLIC = bytes(KEY.verify_key)
FIELDS = {"version": 1, "algorithm": "ed25519", "name": "alice", "public": PUBLIC.hex()}
PUBLIC_FIELDS = {"type": "fruit-public-key", **FIELDS}
SECRET_FIELDS = {"type": "fruit-secret-key", **FIELDS, "seed": bytes(KEY).hex()}

WriteKey = Callable[..., Path]


@pytest.fixture
def write_key(tmp_path: Path) -> WriteKey:
    def write(content: object, mode: int = 0o600) -> Path:
        path = tmp_path / "key.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(mode)
        return path

    return write


def test_whole_key_files_are_read(write_key: WriteKey) -> None:
    """A maintainer could not sign, and nobody could check."""
    assert read_public(write_key(PUBLIC_FIELDS, 0o644)) == PUBLIC
    assert read_public(write_key(SECRET_FIELDS)) == PUBLIC
    assert bytes(read_secret(write_key(SECRET_FIELDS))) == bytes(KEY)
    assert bytes(read_secret(write_key(SECRET_FIELDS, 0o400))) == bytes(KEY)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_a_secret_key_that_others_can_use_is_refused(mode: int, write_key: WriteKey) -> None:
    """A maintainer would not learn that everybody on the machine can release."""
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_secret(write_key(SECRET_FIELDS, mode))


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "1" * 5000,
        "[" * 4000,
        "9" * 4090,
        '"\ud7ff"',
        {},
        {**PUBLIC_FIELDS, "type": "other"},
        {**PUBLIC_FIELDS, "type": ["fruit-public-key"]},
        {**PUBLIC_FIELDS, "version": 2},
        {**PUBLIC_FIELDS, "version": True},
        {**PUBLIC_FIELDS, "algorithm": "rsa"},
        {**PUBLIC_FIELDS, "more": 1},
        {**PUBLIC_FIELDS, "public": PUBLIC.hex()[:-2]},
        {**PUBLIC_FIELDS, "public": PUBLIC.hex()[:-1] + "g"},
        {**PUBLIC_FIELDS, "public": 7},
        {**PUBLIC_FIELDS, "name": "x" * 5000},
        *[without(PUBLIC_FIELDS, name) for name in PUBLIC_FIELDS],
    ],
)
def test_what_is_no_key_file_is_refused(content: object, write_key: WriteKey) -> None:
    """Another file given by mistake would crash the command, or pass for a key."""
    path = write_key(content)
    with pytest.raises(KeyFileError, match=r"key\.json"):
        read_public(path)
    with pytest.raises(KeyFileError, match=r"key\.json"):
        read_secret(path)


def test_a_public_key_does_not_sign(write_key: WriteKey) -> None:
    """The message would not say which of the two files is needed."""
    with pytest.raises(KeyFileError, match="secret key file"):
        read_secret(write_key(PUBLIC_FIELDS))


def test_halves_of_two_keys_are_refused(write_key: WriteKey) -> None:
    """A maintainer would sign as somebody that no node trusts, and wonder."""
    with pytest.raises(KeyFileError, match="does not belong"):
        read_secret(write_key({**SECRET_FIELDS, "seed": "00" * 32}))
    with pytest.raises(KeyFileError, match="seed is not 64"):
        read_secret(write_key({**SECRET_FIELDS, "seed": "AA" * 32}))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A typing mistake would end in a stack trace."""
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(KeyFileError, match="cannot read key file"):
            read_public(path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeyFileError, match="not JSON"):
        read_public(binary)
