"""What the commands tell of a torrent: plain values for JSON, and rows for people. docs/bep35.md describes each field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bep35.errors import CertificateError, ExtraMissingError, SignatureError
from bep35.signatures import SignatureEntry
from bep35.signing import Stated, stated
from bep35.torrent import Torrent
from bep35.verdicts import Finding

SCHEMA = 1
FILES_SHOWN_MAX = 20
"""Of files to people; JSON has them all."""

Json = dict[str, Any]


def described(torrent: Torrent, findings: Sequence[Finding]) -> Json:
    """Everything about a torrent; the findings are those of `verdicts.judge` on it."""
    return {
        "schema": SCHEMA,
        "kind": torrent.kind.value,
        "name": torrent.name,
        "infohash_v1": _hex(torrent.infohash_v1),
        "infohash_v2": _hex(torrent.infohash_v2),
        "length_bytes": torrent.length_bytes,
        "piece_bytes": torrent.piece_bytes,
        "files": [
            {
                "path": list(file.path),
                "length_bytes": file.length_bytes,
                "pieces_root": _hex(file.pieces_root),
            }
            for file in torrent.files
        ],
        "sha256": hashlib.sha256(torrent.raw).hexdigest(),
        "size_bytes": len(torrent.raw),
        "signatures": [_signature(torrent.signatures[found.signer_id], found) for found in findings],
    }


def rows_of_torrent(shown: Json) -> list[str]:
    """The torrent without its signatures, for people."""
    names = (
        "name",
        "kind",
        "infohash_v1",
        "infohash_v2",
        "length_bytes",
        "piece_bytes",
        "sha256",
        "size_bytes",
    )
    rows = _rows({name: shown[name] for name in names if shown[name] is not None})
    files = shown["files"] if len(shown["files"]) > 1 else []
    for file in files[:FILES_SHOWN_MAX]:
        rows += _rows({"file": "/".join(file["path"][1:]), "": file["length_bytes"]})
    if len(files) > FILES_SHOWN_MAX:
        rows.append(f"  and {len(files) - FILES_SHOWN_MAX} more files")
    return rows


def rows_of_signature(signature: Json) -> list[str]:
    """One signature: the verdict first, then what it states and who is said to have made it."""
    head = f"signature of {signature['signer']}: {signature['verdict']}"
    rows = [f"{head} ({signature['why']})" if signature["why"] else head]
    rows += _rows({"algorithm": signature["algorithm"] or "not stated", **(signature["info"] or {})})
    certificate = signature["certificate"]
    if certificate is not None:
        rows += _rows(
            {f"certificate {name}": value for name, value in certificate.items() if value is not None}
        )
    return rows


def _signature(entry: SignatureEntry, found: Finding) -> Json:
    return {
        "signer": found.signer_id,
        "verdict": found.verdict.value,
        "why": found.why,
        "algorithm": found.algorithm,
        "key_sha256": _hex(found.key_sha256),
        "info": _readable(entry),
        "certificate": None if entry.certificate is None else _certificate(entry.certificate),
    }


def _certificate(der: bytes) -> Json:
    shown: Json = {"subject": None, "issuer": None, "valid_from": None, "valid_to": None, "key_bits": None}
    shown |= {"sha256": hashlib.sha256(der).hexdigest(), "unreadable": None}
    try:
        from bep35.x509.certificate import read_certificate  # here: large, and not everybody has it

        certificate = read_certificate(der)
    except (ExtraMissingError, CertificateError) as error:
        return shown | {"unreadable": str(error)}
    return shown | {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "valid_from": _moment(certificate.not_before_s),
        "valid_to": _moment(certificate.not_after_s),
        "key_bits": certificate.key_bits,
    }


def _moment(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _readable(entry: SignatureEntry) -> dict[str, Stated] | None:
    try:
        return stated(entry.info)
    except SignatureError:
        return None


def _rows(values: Mapping[str, Stated]) -> list[str]:
    """One value a line, as JSON, which leaves no control character of a stranger's for the terminal to obey."""
    return [f"  {json.dumps(name)[1:-1]:<14} {json.dumps(value)}" for name, value in values.items()]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
