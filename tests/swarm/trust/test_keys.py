"""Keys and key files: if these failed, a maintainer's key could leak, be overwritten, or be taken for another."""

from __future__ import annotations

import errno
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import KeyFileError
from swarm.trust import key_files
from swarm.trust.any_key import decode_key, public_half
from swarm.trust.keys import PublicKey, SecretKey, key_id, node_id_of, verifies

SECRET = SecretKey(bytes(range(32)), "ann")
RFC8032_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC8032_PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_keys_are_those_of_rfc_8032():
    """If this failed, nobody else's Ed25519 could check our signatures."""
    key = SecretKey(RFC8032_SEED, "rfc")
    assert key.public.raw.hex() == RFC8032_PUBLIC
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


def test_a_signature_counts_for_its_message_and_key_only():
    """If this failed, anything could be passed off as signed."""
    signature = SECRET.sign(b"message")
    other = SecretKey(bytes(32), "other")
    assert SECRET.public.verifies(b"message", signature)
    assert not SECRET.public.verifies(b"massage", signature)
    assert not other.public.verifies(b"message", signature)
    assert not verifies(SECRET.public.raw, b"message", signature[:-1])
    assert not verifies(b"short", b"message", signature)


def test_ids_are_prefixes_of_the_hash_of_the_public_key():
    """If this failed, a node's name would not prove which key speaks for it."""
    node_id = node_id_of(SECRET.public.raw)
    assert len(node_id) == 20
    assert SECRET.node_id == node_id
    assert SECRET.key_id == key_id(SECRET.public.raw) == node_id.hex()[:16]


def test_a_seed_is_never_shown():
    """If this failed, a log line or a traceback would publish a key."""
    shown = repr(SECRET) + str(SECRET)
    assert SECRET.seed.hex() not in shown
    assert repr(SECRET.seed)[2:-1] not in shown
    assert "ann" in shown


def test_written_keys_are_read_again_and_have_the_documented_shape():
    """If this failed, other programs (python -m bep35) could not use the key files."""
    document = json.loads(SECRET.encode())
    assert document == {
        "type": "fruit-secret-key",
        "version": 1,
        "algorithm": "ed25519",
        "name": "ann",
        "public": SECRET.public.raw.hex(),
        "seed": SECRET.seed.hex(),
    }
    assert SecretKey.decode(SECRET.encode()) == SECRET
    assert PublicKey.decode(SECRET.public.encode()) == SECRET.public
    assert public_half(decode_key(SECRET.encode())) == SECRET.public
    assert "seed" not in json.loads(SECRET.public.encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "another version"),
        ({"version": True}, "another version"),
        ({"algorithm": "rsa"}, "another algorithm"),
        ({"type": "ssh"}, "type"),
        ({"seed": "00"}, "64 lower-case hex"),
        ({"seed": 5}, "64 lower-case hex"),
        ({"public": "00" * 32}, "does not belong to its seed"),
        ({"name": "../up"}, "letters, digits"),
        ({"name": 5}, "not text"),
        ({"comment": "hi"}, "fields"),
    ],
)
def test_a_damaged_secret_key_is_refused_in_words_without_its_content(change, said):
    """If this failed, a damaged key would sign under a wrong name, or an error would print it."""
    damaged = json.dumps(json.loads(SECRET.encode()) | change).encode()
    with pytest.raises(KeyFileError, match=said) as refused:
        SecretKey.decode(damaged)
    assert SECRET.seed.hex() not in str(refused.value)


def test_the_public_half_where_the_secret_is_needed_is_said_so():
    """If this failed, the usual mistake of a first signing would get a puzzling answer."""
    with pytest.raises(KeyFileError, match=r"\.key file"):
        SecretKey.decode(SECRET.public.encode())


def test_key_files_are_private_and_never_overwritten(tmp_path):
    """If this failed, a second `key new` would destroy a release key for good, or others could read it."""
    before = os.umask(0)
    try:
        secret_path, public_path = key_files.create_key_pair(tmp_path, "ann")
    finally:
        os.umask(before)
    assert secret_path.stat().st_mode & 0o777 == 0o600
    first = secret_path.read_bytes()
    with pytest.raises(KeyFileError, match="not overwritten"):
        key_files.create_key_pair(tmp_path, "ann")
    assert secret_path.read_bytes() == first
    assert key_files.read_secret_key(secret_path).public == key_files.read_public_key(public_path)
    assert key_files.generate("x").seed != key_files.generate("x").seed


def test_no_half_of_a_pair_stays_behind(tmp_path):
    """If this failed, a secret key whose public half nobody has would lie about."""
    (tmp_path / "ann.pub").write_bytes(b"somebody else's")
    with pytest.raises(KeyFileError, match=r"ann\.pub"):
        key_files.create_key_pair(tmp_path, "ann")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ann.pub"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o660])
def test_a_secret_key_others_have_rights_to_is_refused(tmp_path, mode):
    """If this failed, a key that anybody on the machine could copy would go on signing."""
    path, _ = key_files.create_key_pair(tmp_path, "ann")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        key_files.read_secret_key(path)


def test_what_is_no_key_file_is_named_and_refused_at_once(tmp_path):
    """If this failed, a FIFO, a folder or an image given by mistake would hang the command or eat its memory."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    large = tmp_path / "large"
    large.write_bytes(bytes(5000))
    for path in (fifo, large, tmp_path, tmp_path / "missing"):
        with pytest.raises(KeyFileError, match=str(path)):
            key_files.read_public_key(path)


@pytest.mark.fuzz
@given(
    st.binary(max_size=400)
    | st.dictionaries(
        st.sampled_from(["type", "version", "algorithm", "name", "public", "seed"]),
        st.sampled_from(["fruit-secret-key", "fruit-public-key", 1, "ed25519", "ann", "ab" * 32, None, []]),
    ).map(lambda d: json.dumps(d).encode())
)
@settings(max_examples=500, deadline=None)
def test_fuzz_only_key_file_errors_escape(data):
    """If this failed, a mangled key file would end in a traceback with the key in it."""
    for decode in (SecretKey.decode, PublicKey.decode, decode_key):
        try:
            decode(data)
        except KeyFileError:
            continue


def test_a_key_gets_its_name_only_once_it_is_whole(tmp_path, monkeypatch):
    """If this failed, a power cut at first start would leave half an identity, and the node could never join."""

    def power_cut(handle: int) -> None:
        raise OSError(errno.EIO, "power cut")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(KeyFileError, match="power cut"):
        key_files.write_secret_key(tmp_path / "identity.key", SECRET)
    assert list(tmp_path.iterdir()) == []


def test_keys_can_be_made_where_there_are_no_hard_links(tmp_path, monkeypatch):
    """If this failed, no key could be made on a USB stick, which is where offline keys live."""

    def no_links(source: object, target: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path, _ = key_files.create_key_pair(tmp_path, "ann")
    assert key_files.read_secret_key(path).name == "ann"
    with pytest.raises(KeyFileError, match="not overwritten"):
        key_files.create_key_pair(tmp_path, "ann")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ann.key", "ann.pub"]
