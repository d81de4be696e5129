"""The published vectors, all of them: what each row of vectors.json promises to another implementation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from bep35 import merkle
from bep35.bencode import decode, encode
from bep35.errors import Bep35Error
from bep35.signing import Stated, sign, signer_id_of, stated
from bep35.torrent import Torrent, parse
from bep35.verdicts import Trust, judge, valid_keys

VECTORS = Path(__file__).parents[1] / "vectors" / "bep35"
ROWS: list[dict[str, Any]] = json.loads((VECTORS / "vectors.json").read_text())["vectors"]
FILES = {"a.bin": 40_000, "more/b.bin": 70_000, "more/c.bin": 9_000, "z.empty": 0}


def der_of(name: str) -> bytes:
    certificate = pytest.importorskip("bep35.x509.certificate", reason="needs the extra x509")
    return bytes(certificate.read_certificates((VECTORS / name).read_bytes())[0].der)


def trust_of(row: dict[str, Any]) -> Trust:
    given = row["trust"]
    return Trust(
        at_s=given["at_s"],
        keys={signer_id: bytes.fromhex(key) for signer_id, key in given["keys"].items()},
        certificates=tuple(der_of(name) for name in given["certificates"]),
        roots=tuple(der_of(name) for name in given["roots"]),
        allow_sha1=given["allow_sha1"],
    )


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['file']}: {row['note']}" for row in ROWS])
def test_every_vector_gets_the_verdict_it_promises(row: dict[str, Any]) -> None:
    """Two implementations would think differently of one torrent."""
    raw = (VECTORS / row["file"]).read_bytes()
    if row["expect"] is None:
        with pytest.raises(Bep35Error):
            parse(raw)
        return
    torrent = parse(raw)
    findings = judge(torrent, trust_of(row))
    assert {found.signer_id: found.verdict.value for found in findings} == row["expect"]
    assert all((found.why == "") == (found.verdict.value == "valid") for found in findings)
    assert len(valid_keys(findings)) == list(row["expect"].values()).count("valid")
    assert torrent.kind.value == row["kind"]
    for infohash, promised in ((torrent.infohash_v1, "infohash_v1"), (torrent.infohash_v2, "infohash_v2")):
        assert (infohash and infohash.hex()) == row[promised]
    for signer_id, promised in row["signed_bytes_sha256"].items():
        signed = torrent.info_raw + (torrent.signatures[signer_id].info_raw or b"")
        assert hashlib.sha256(signed).hexdigest() == promised


def test_the_vectors_show_every_verdict_and_every_kind() -> None:
    """A whole kind of torrent or of refusal would be untested by others, and by us."""
    verdicts = {verdict for row in ROWS for verdict in (row["expect"] or {"": "refused"}).values()}
    assert verdicts == {"valid", "invalid", "unknown", "refused"}
    assert {row.get("kind") for row in ROWS} == {"v1", "v2", "hybrid", None}
    on_disk = {path.name for path in VECTORS.glob("*.torrent")}
    sources = {row["made_from"] for row in ROWS if row["made_from"]}
    assert on_disk == {row["file"] for row in ROWS} | sources
    assert len(sources) == 5


@pytest.mark.parametrize("row", [row for row in ROWS if row["made_from"]], ids=lambda row: row["file"])
def test_we_write_the_vectors_byte_for_byte(row: dict[str, Any]) -> None:
    """What we sign would differ from what we published, or signing would change more than the signatures."""
    signed = parse((VECTORS / row["file"]).read_bytes())
    raw = (VECTORS / row["made_from"]).read_bytes()
    for signer_id, entry in signed.signatures.items():
        states = stated(entry.info)
        if states.pop("alg") == "ed25519":
            raw = sign(raw, signer_id, ed25519_key(signer_id), states)
        else:
            raw = signed_with_rsa(raw, states, row["trust"]["roots"] == [])
    assert raw == signed.raw
    assert parse((VECTORS / row["made_from"]).read_bytes()).info_raw == signed.info_raw


def ed25519_key(signer_id: str) -> SigningKey:
    seeds = [
        json.loads((VECTORS / name).read_text())["seed"] for name in ("secret.json", "second-secret.json")
    ]
    keys = [SigningKey(bytes.fromhex(seed)) for seed in seeds]
    return next(key for key in keys if signer_id_of(bytes(key.verify_key)) == signer_id)


def signed_with_rsa(raw: bytes, states: dict[str, Stated], self_signed: bool) -> bytes:
    certificate = pytest.importorskip("bep35.x509.certificate", reason="needs the extra x509")
    rsa = pytest.importorskip("bep35.x509.rsa")
    name = "self" if self_signed else "leaf"
    mine = certificate.read_certificates((VECTORS / f"{name}.crt.pem").read_bytes())[0]
    key = rsa.read_rsa_key((VECTORS / f"{name}.key.pem").read_bytes())
    return bytes(rsa.sign_with_certificate(raw, mine, key, states))


def content(name: str) -> bytes:
    return hashlib.shake_256(b"fruitd bep35 vector file " + name.encode()).digest(FILES[name])


@pytest.mark.parametrize("kind", ["v1", "v2-folder", "hybrid"])
def test_the_vectors_describe_the_files_that_the_specification_names(kind: str) -> None:
    """Another implementation could not check its reading of pieces and roots against ours."""
    torrent = parse((VECTORS / f"{kind}-unsigned.torrent").read_bytes())
    assert {"/".join(file.path): file.length_bytes for file in torrent.files} == {
        f"vector/{name}": length for name, length in FILES.items()
    }
    for file in torrent.files:
        if file.pieces_root is not None:
            data = content("/".join(file.path[1:]))
            assert file.pieces_root == merkle.root_of(merkle.leaf_hashes(data))
    if torrent.infohash_v1 is not None:
        assert pieces_of(torrent) == [hashlib.sha1(piece).digest() for piece in v1_pieces(torrent)]
    if torrent.infohash_v2 is not None:
        assert sum(file.pieces_root is not None for file in torrent.files) == 3


def pieces_of(torrent: Torrent) -> list[bytes]:
    info = decode(torrent.info_raw)
    assert isinstance(info, dict)
    pieces = info[b"pieces"]
    assert isinstance(pieces, bytes)
    return [pieces[at : at + 20] for at in range(0, len(pieces), 20)]


def v1_pieces(torrent: Torrent) -> list[bytes]:
    """The content in the order of `files`, padding as zeros, cut into pieces: BEP-3 word for word."""
    info: Any = decode(torrent.info_raw)
    row = b""
    for file in info[b"files"]:
        padding = b"p" in file.get(b"attr", b"")
        row += bytes(file[b"length"]) if padding else content(b"/".join(file[b"path"]).decode())
    return [row[at : at + torrent.piece_bytes] for at in range(0, len(row), torrent.piece_bytes)]


def test_the_specification_tells_of_every_file() -> None:
    """Somebody would find a vector and not know what it is for."""
    spec = (VECTORS / "SPEC.md").read_text()
    in_rows = {row["file"] for row in ROWS} | {row["made_from"] for row in ROWS}
    for path in VECTORS.iterdir():
        if path.name not in {"SPEC.md", *in_rows}:
            assert f"`{path.name}`" in spec, path.name
    assert "`vectors.json`" in spec


def test_unknown_keys_are_in_the_vectors() -> None:
    """The promise that nothing else changes would be shown on torrents with nothing else in them."""
    for name in ("v1", "hybrid", "unordered"):
        raw = (VECTORS / f"{name}-signed.torrent").read_bytes()
        assert encode({"x-unknown": [1, {"z": b"\xff\x00"}]})[1:-1] in raw
