"""Keys that are kept elsewhere: if these failed, a file could run what nobody chose, or a false signature would be used."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import KeyFileError
from swarm.trust import key_files
from swarm.trust.any_key import decode_key, public_half
from swarm.trust.command_key import CommandKey, check_command
from swarm.trust.keys import SecretKey

ANN = SecretKey(bytes(range(32)), "ann")
KEY = CommandKey(ANN.public, ("token-sign", "--slot", "1"))


def test_a_description_is_read_back_and_tells_the_public_half():
    """If this failed, nobody could sign with a token."""
    assert decode_key(KEY.encode()) == KEY
    assert public_half(KEY) == ANN.public


def test_a_signature_counts_raw_or_in_hex_and_only_if_it_verifies():
    """If this failed, a token that signs something else would spoil a ceremony, or honest ones be refused."""
    good = ANN.sign(b"message")
    for answer in (good, good.hex().encode(), good.hex().upper().encode() + b"\n"):
        assert KEY.check_signature(b"message", answer) == good
    for answer in (ANN.sign(b"massage"), SecretKey(bytes(32), "other").sign(b"message"), bytes(64)):
        with pytest.raises(KeyFileError, match="did not make"):
            KEY.check_signature(b"message", answer)
    for answer in (b"", good[:-1], good + b"\n", b"z" * 128, good.hex().encode()[:-2], "é".encode() * 64):
        with pytest.raises(KeyFileError, match=f"answered {len(answer)} bytes"):
            KEY.check_signature(b"message", answer)


@pytest.mark.parametrize(
    "words",
    [
        [],
        "rm -rf",
        [""],
        ["./sign"],
        ["bin/sign"],
        ["sign", 1],
        ["sign", "a\0b"],
        ["sign", "a\nb"],
        ["sign", "\ud800"],
        ["sign", "x" * 513],
        ["sign"] * 33,
    ],
)
def test_what_is_no_command_is_refused(words):
    """If this failed, a key file could run what lies in the current folder, or end in a traceback."""
    with pytest.raises(KeyFileError, match="command"):
        check_command(words)
    with pytest.raises(KeyFileError, match="command"):
        CommandKey.decode(json.dumps(json.loads(KEY.encode()) | {"command": words}).encode())


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_change_is_not_followed(tmp_path, mode):
    """If this failed, another user of the machine could choose what a maintainer runs."""
    path = tmp_path / "ann.key"
    path.write_bytes(KEY.encode())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="can be changed by other users"):
        key_files.read_key(path)
    path.chmod(0o644)
    assert key_files.read_key(path) == KEY
    with pytest.raises(KeyFileError, match="kept elsewhere"):
        key_files.read_secret_key(path)


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_fuzz_only_our_own_error_escapes(data):
    """If this failed, a damaged description would end in a traceback."""
    raw = bytearray(KEY.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_key(bytes(raw))
    except KeyFileError:
        return
