"""What other programs think of our torrents: OpenSSL of the signatures, libtorrent of the rest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import libtorrent
import pytest
from nacl.signing import SigningKey

from bep35 import merkle, metainfo, signing
from bep35.bencode import decode, encode
from bep35.torrent import parse

PUBLIC_DER_HEAD = bytes.fromhex("302a300506032b6570032100")
SECRET_DER_HEAD = bytes.fromhex("302e020100300506032b657004220420")
"""RFC 8410: SubjectPublicKeyInfo and PKCS #8 of an Ed25519 key, up to the 32 bytes of the key."""

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def openssl(folder: Path, *arguments: str) -> bool:
    """Whether `openssl pkeyutl` on these files of the folder succeeded."""
    command = ["openssl", "pkeyutl", "-rawin", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=20).returncode == 0


def verified_by_openssl(folder: Path) -> bool:
    options = ["-pubin", "-keyform", "DER", "-inkey", "public.der", "-sigfile", "signature", "-in", "message"]
    return openssl(folder, "-verify", *options)


@needs_openssl
def test_openssl_accepts_our_signature_and_no_other(vectors: Path, tmp_path: Path) -> None:
    """Nobody but our own program could check a release."""
    public = bytes.fromhex(json.loads((vectors / "public.json").read_text())["public"])
    torrent = metainfo.parse((vectors / "signed.torrent").read_bytes())
    entry = torrent.signatures[signing.signer_id_of(public)]
    assert entry.info_raw is not None
    (tmp_path / "public.der").write_bytes(PUBLIC_DER_HEAD + public)
    (tmp_path / "signature").write_bytes(entry.signature)
    (tmp_path / "message").write_bytes(torrent.info_raw + entry.info_raw)
    assert verified_by_openssl(tmp_path)
    (tmp_path / "message").write_bytes(torrent.info_raw + entry.info_raw + b"e")
    assert not verified_by_openssl(tmp_path)


@needs_openssl
def test_we_accept_the_signature_of_openssl(
    vectors: Path, vector_key: SigningKey, vector_info: dict[str, str | int | list[str]], tmp_path: Path
) -> None:
    """A maintainer with a key in another program could release nothing."""
    raw = (vectors / "unsigned.torrent").read_bytes()
    public = bytes(vector_key.verify_key)
    signer_id = signing.signer_id_of(public)
    (tmp_path / "secret.der").write_bytes(SECRET_DER_HEAD + bytes(vector_key))
    (tmp_path / "message").write_bytes(signing.signed_bytes(raw, vector_info))
    options = ["-keyform", "DER", "-inkey", "secret.der", "-in", "message", "-out", "signature"]
    assert openssl(tmp_path, "-sign", *options)
    signed = signing.attach(raw, signer_id, vector_info, (tmp_path / "signature").read_bytes())
    assert signing.verify(metainfo.parse(signed), signer_id, public)["release"] == 2
    assert signed == (vectors / "signed.torrent").read_bytes()


def run_openssl(folder: Path, *arguments: str) -> str:
    """What the command says; empty where it fails."""
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout if done.returncode == 0 else ""


@needs_openssl
def test_openssl_accepts_our_rsa_signature_and_no_other(vectors: Path, tmp_path: Path) -> None:
    """Nobody but our own program could check a torrent signed with a certificate."""
    torrent = parse((vectors / "x509-leaf.torrent").read_bytes())
    entry = torrent.signatures["com.example.alice"]
    assert entry.info_raw is not None
    assert entry.certificate is not None
    (tmp_path / "leaf.der").write_bytes(entry.certificate)
    (tmp_path / "signature").write_bytes(entry.signature)
    (tmp_path / "message").write_bytes(torrent.info_raw + entry.info_raw)
    shutil.copy(vectors / "root.crt.pem", tmp_path)
    public = run_openssl(tmp_path, "x509", "-inform", "DER", "-in", "leaf.der", "-pubkey", "-noout")
    (tmp_path / "public.pem").write_text(public)
    run_openssl(tmp_path, "x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.pem")
    assert "OK" in run_openssl(tmp_path, "verify", "-CAfile", "root.crt.pem", "leaf.pem")
    check = ["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "message"]
    assert run_openssl(tmp_path, *check) == "Verified OK\n"
    (tmp_path / "message").write_bytes(torrent.info_raw + entry.info_raw + b"e")
    assert run_openssl(tmp_path, *check) == ""


@needs_openssl
@pytest.mark.parametrize(("digest", "alg"), [("-sha256", "rsa-sha256"), ("-sha1", None)])
def test_we_accept_what_openssl_made(digest: str, alg: str | None, vectors: Path, tmp_path: Path) -> None:
    """A signer who follows the BEP with the commands it names could not be verified."""
    certificate = pytest.importorskip("bep35.x509.certificate", reason="needs the extra x509")
    rsa = pytest.importorskip("bep35.x509.rsa")
    run_openssl(tmp_path, "genrsa", "-out", "root.key", "2048")
    run_openssl(tmp_path, "genrsa", "-out", "key", "2048")
    for command in (
        "req -x509 -new -key root.key -subj /CN=org.example -days 9 -out root.pem",
        "req -new -key key -subj /CN=org.example.carol -out csr",
        "x509 -req -in csr -CA root.pem -CAkey root.key -set_serial 1 -days 9 -out leaf.pem",
    ):
        run_openssl(tmp_path, *command.split())
    raw = (vectors / "hybrid-unsigned.torrent").read_bytes()
    info = b"" if alg is None else encode({"alg": alg, "release": 4})
    (tmp_path / "message").write_bytes(parse(raw).info_raw + info)
    run_openssl(tmp_path, "dgst", digest, "-sign", "key", "-out", "signature", "message")
    leaf = certificate.read_certificates((tmp_path / "leaf.pem").read_bytes())[0]
    root = certificate.read_certificates((tmp_path / "root.pem").read_bytes())[0]
    entry = {"certificate": leaf.der, "signature": (tmp_path / "signature").read_bytes()}
    if alg is not None:
        entry["info"] = {"alg": alg, "release": 4}
    value = decode(raw)
    assert isinstance(value, dict)
    torrent = parse(encode({**value, b"signatures": {leaf.signer_id: entry}}))
    found = rsa.verify_with_certificates(
        torrent,
        "org.example.carol",
        given=[],
        roots=[root],
        at_s=leaf.not_before_s,
        allow_sha1=digest == "-sha1",
    )
    assert found.algorithm == (alg or "rsa-sha1")
    assert found.stated == ({} if alg is None else {"alg": alg, "release": 4})


def made_by_libtorrent(path: Path, piece_bytes: int) -> bytes:
    creator = libtorrent.create_torrent(
        libtorrent.list_files(str(path)), piece_bytes, libtorrent.create_torrent.v2_only
    )
    libtorrent.set_piece_hashes(creator, str(path.parent))
    return bytes(libtorrent.bencode(creator.generate()))


KIB = 1024
LENGTHS = [
    1,
    16 * KIB - 1,
    16 * KIB,
    16 * KIB + 1,
    100_000,
    256 * KIB - 1,
    256 * KIB,
    256 * KIB + 1,
    1_300_001,
]


@pytest.mark.parametrize("piece_bytes", [16 * KIB, 64 * KIB, 256 * KIB])
@pytest.mark.parametrize("length", LENGTHS)
def test_we_build_what_libtorrent_builds(length: int, piece_bytes: int, tmp_path: Path) -> None:
    """Nodes would ask for a file that no BitTorrent program recognises as this image."""
    path = tmp_path / "rootfs-2.img"
    path.write_bytes(os.urandom(length))
    with open(path, "rb", buffering=0) as image:
        leaves = merkle.leaf_hashes_of(image, length)
    ours = metainfo.parse(metainfo.build(path.name, length, leaves, piece_bytes))
    theirs = metainfo.parse(made_by_libtorrent(path, piece_bytes))
    assert ours.info_raw == theirs.info_raw
    assert ours.infohash == theirs.infohash
    assert ours.piece_layer == theirs.piece_layer


def test_libtorrent_loads_a_signed_torrent_as_the_same(
    vectors: Path, make_torrent: Callable[..., bytes]
) -> None:
    """A signed torrent could not be transferred, or would be another one than the unsigned."""
    raw = (vectors / "signed.torrent").read_bytes()
    torrent = metainfo.parse(raw)
    loaded = libtorrent.load_torrent_buffer(raw)
    assert loaded.info_hashes.has_v2()
    assert not loaded.info_hashes.has_v1()
    assert bytes.fromhex(str(loaded.info_hashes.v2)) == torrent.infohash
    assert loaded.ti is not None
    assert loaded.ti.name() == torrent.name == "rootfs-2.img"
    assert loaded.ti.piece_length() == torrent.piece_bytes
    assert loaded.ti.info_section() == torrent.info_raw
    other = libtorrent.load_torrent_buffer(make_torrent(b"other"))
    assert loaded.info_hashes != other.info_hashes


def test_libtorrent_and_we_read_the_same_dictionary(vectors: Path) -> None:
    """What is verified and what is transferred could be two things."""
    raw = (vectors / "signed.torrent").read_bytes()
    assert libtorrent.bdecode(raw) == decode(raw)
    assert hashlib.sha256(raw).hexdigest() in (vectors / "SPEC.md").read_text()
