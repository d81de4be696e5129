"""Keys behind a passphrase: if these failed, a stolen laptop or stick would be enough to sign a release."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import KeyFileError
from swarm.trust import key_files, locked_key
from swarm.trust.any_key import decode_key, public_half
from swarm.trust.keys import PublicKey, SecretKey
from swarm.trust.locked_key import MODERATE, Cost, LockedKey

ANN = SecretKey(bytes(range(32)), "ann")
CHEAP = Cost(1, 8192)
"""Tests guess nothing; what a guess costs is checked by its own test."""
WORDS = "correct horse battery staple"
LOCKED = LockedKey.lock(ANN, WORDS, salt=bytes(range(16)), nonce=bytes(range(24)), cost=CHEAP)


def test_a_passphrase_opens_what_it_locked():
    """If this failed, a maintainer would lose the key at the moment of locking it."""
    again = LockedKey.decode(LOCKED.encode())
    assert again == LOCKED
    assert again.unlock(WORDS) == ANN
    assert decode_key(LOCKED.encode()) == LOCKED
    assert public_half(LOCKED) == ANN.public


@pytest.mark.parametrize("wrong", ["", "correct horse", WORDS.upper(), WORDS + " ", "x" * 2000])
def test_no_other_passphrase_opens_it(wrong):
    """If this failed, the lock would be decoration."""
    with pytest.raises(KeyFileError):
        LOCKED.unlock(wrong)


def test_neither_the_file_nor_what_is_printed_holds_the_seed_or_the_passphrase():
    """If this failed, a backup or a log would be as good as the key."""
    for shown in (LOCKED.encode().decode(), repr(LOCKED)):
        assert ANN.seed.hex() not in shown
        assert "horse" not in shown
    assert set(json.loads(LOCKED.encode())) == {
        *("type", "version", "algorithm", "name", "public"),
        *("kdf", "kdf_passes", "kdf_memory_bytes", "salt", "cipher", "nonce", "locked"),
    }


def test_one_passphrase_typed_on_two_systems_is_one():
    """If this failed, a key locked on one keyboard could not be opened on another."""
    composed, decomposed = "b\u00e4ume und birnen", "ba\u0308ume und birnen"
    locked = LockedKey.lock(ANN, composed, salt=bytes(16), nonce=bytes(24), cost=CHEAP)
    assert locked.unlock(decomposed) == ANN


def test_a_key_cannot_be_passed_off_under_another_name_or_public_half():
    """If this failed, somebody could make a maintainer sign with another key than the one shown."""
    other = SecretKey(bytes(32), "mallory").public
    for public in (PublicKey(ANN.public.raw, "ben"), PublicKey(other.raw, "ann"), other):
        with pytest.raises(KeyFileError, match="not opened"):
            attrs.evolve(LOCKED, public=public).unlock(WORDS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kdf_memory_bytes": 100 * 1024**3}, "kdf_memory_bytes is not"),
        ({"kdf_memory_bytes": 0}, "kdf_memory_bytes is not"),
        ({"kdf_memory_bytes": True}, "kdf_memory_bytes is not"),
        ({"kdf_passes": 17}, "kdf_passes is not"),
        ({"kdf_passes": 1.0}, "kdf_passes is not"),
        ({"kdf": "scrypt"}, "argon2id"),
        ({"cipher": "none"}, "xchacha20poly1305"),
        ({"salt": "00"}, "salt is not 32"),
        ({"nonce": "G" * 48}, "nonce is not 48"),
        ({"locked": ["00" * 48]}, "locked is not 96"),
        ({"seed": "00" * 32}, "fields that do not belong"),
    ],
)
def test_a_file_that_asks_for_too_much_or_the_wrong_thing_is_refused_before_any_work(
    change, said, monkeypatch
):
    """If this failed, a file from a stranger could eat 100 GiB of memory, or weaken the lock unseen."""
    monkeypatch.setattr(locked_key.argon2id, "kdf", lambda *_: pytest.fail("the passphrase was worked on"))
    with pytest.raises(KeyFileError, match=said):
        LockedKey.decode(json.dumps(json.loads(LOCKED.encode()) | change).encode())


def test_each_lock_is_new_and_costs_what_a_guess_should_cost(tmp_path):
    """If this failed, one list of guesses would serve for all keys, or a guess would be cheap."""
    first, second = key_files.lock(ANN, WORDS, CHEAP), key_files.lock(ANN, WORDS, CHEAP)
    assert first.salt != second.salt
    assert first.nonce != second.nonce
    path, _ = key_files.create_key_pair(tmp_path, "ann", WORDS)
    made = key_files.read_key(path)
    assert isinstance(made, LockedKey)
    assert made.cost == MODERATE
    assert (MODERATE.passes, MODERATE.memory_bytes) == (3, 256 * 1024**2)
    assert made.unlock(WORDS).public == made.public


def test_a_machine_with_too_little_memory_says_so(monkeypatch):
    """If this failed, a Pi would end with a traceback where a larger machine would do."""

    def none_left(*_):
        raise MemoryError

    monkeypatch.setattr(locked_key.argon2id, "kdf", none_left)
    with pytest.raises(KeyFileError, match="256 MiB of free memory"):
        attrs.evolve(LOCKED, cost=MODERATE).unlock(WORDS)


def test_a_locked_key_on_disk_is_private_and_is_relocked_in_place(tmp_path):
    """If this failed, a change of passphrase could lose the key, or leave it open to others."""
    path, _ = key_files.create_key_pair(tmp_path, "ann", WORDS, CHEAP)
    assert path.stat().st_mode & 0o777 == 0o600
    key = key_files.read_key(path)
    assert isinstance(key, LockedKey)
    key_files.replace_key(path, key_files.lock(key.unlock(WORDS), "another few words", CHEAP))
    again = key_files.read_key(path)
    assert isinstance(again, LockedKey)
    assert path.stat().st_mode & 0o777 == 0o600
    assert again.unlock("another few words") == key.unlock(WORDS)
    with pytest.raises(KeyFileError, match="another key by now"):
        key_files.replace_key(path, ANN)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ann.key", "ann.pub"]
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        key_files.read_key(path)


def test_where_a_key_must_lie_open_a_locked_one_is_refused_in_words(tmp_path):
    """If this failed, a daemon given a locked identity would wait for a passphrase nobody types."""
    path, _ = key_files.create_key_pair(tmp_path, "pi", WORDS, CHEAP)
    with pytest.raises(KeyFileError, match="locked with a passphrase"):
        key_files.read_secret_key(path)


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"words\n", 0o640, "chmod 600"),
        (b"\nwords", 0o600, "empty"),
        (b"\xff\n", 0o600, "UTF-8"),
        (b"", 0o600, "empty"),
    ],
)
def test_a_passphrase_file_is_private_and_has_a_passphrase(tmp_path, content, mode, said):
    """If this failed, a passphrase that anybody can read, or none at all, would guard a key."""
    file = tmp_path / "passphrase"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(KeyFileError, match=said):
        key_files.read_passphrase(file)
    file.write_bytes(b" five small words here \r\nand more\n")
    file.chmod(0o600)
    assert key_files.read_passphrase(file) == " five small words here "


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_fuzz_only_our_own_error_escapes_and_a_changed_file_opens_nothing(data):
    """If this failed, a damaged or forged key file would end in a traceback, or open as another key."""
    raw = bytearray(LOCKED.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for candidate in (bytes(raw), data.draw(st.binary(max_size=300))):
        try:
            key = decode_key(candidate)
        except KeyFileError:
            continue
        assert isinstance(key, LockedKey)
        if key.cost == CHEAP and key != LOCKED:
            with pytest.raises(KeyFileError):
                key.unlock(WORDS)
