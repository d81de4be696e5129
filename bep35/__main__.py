"""`python -m bep35 sign|verify|show`: signed torrents from the command line.

Exit codes: 0 done, 1 refused or failed with one line on standard error, 2 wrong usage. docs/bep35.md has the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bep35 import shown, verdicts
from bep35.bencode import SIZE_BYTES_MAX
from bep35.errors import Bep35Error, KeyFileError, SignatureError
from bep35.key_file import is_pem, read_private_pem, read_public, read_secret
from bep35.signing import Stated, sign, signer_id_of
from bep35.torrent import Torrent, parse
from bep35.verdicts import Finding, Trust, Verdict, valid_keys

_EXAMPLE = """\
example:
  python -m bep35 sign rootfs-2.torrent --key alice.secret.json --resource org.fruit-testbed.os/rootfs \\
      --release 2 --version 1.1 --compatible raspberrypi,3
  python -m bep35 verify rootfs-2.torrent --key alice.public.json --json
  python -m bep35 show rootfs-2.torrent

with certificates (the extra x509):
  python -m bep35 sign film.torrent --key alice.key.pem --certificate alice.crt.pem
  python -m bep35 verify film.torrent --root studio.crt.pem --at 2027-01-15
"""
_REASONS_MAX = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the answer (argparse itself exits with 2 on wrong usage)."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strangers' odd certificates: they decide nothing
            return int(options.run(options))
    except Bep35Error as error:
        print(f"bep35: {error}", file=sys.stderr)
    except OSError as error:
        print(f"bep35: {error.filename or options.torrent}: {error.strerror}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bep35",
        description="Signs and checks torrents (BEP-35): BitTorrent v1, v2 and hybrid, Ed25519 and RSA.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="sign|verify|show")
    signing = _command(commands, "sign", "add or replace one signature", _sign)
    signing.add_argument("--key", type=Path, required=True, help="secret key file, or an RSA key in PEM")
    signing.add_argument(
        "--certificate", type=Path, help="of the RSA key, in PEM or DER; it names the signer"
    )
    signing.add_argument(
        "--passphrase-file", type=Path, help="the RSA key's passphrase: the file's first line"
    )
    signing.add_argument(
        "--embed", choices=("yes", "no"), help="the certificate; default: unless self-signed"
    )
    signing.add_argument("--signer", help="signer id for an Ed25519 key; the default is made from the key")
    signing.add_argument("--resource", help="what the torrent is for; signed, as are the next three")
    signing.add_argument("--release", type=int, help="order of this release")
    signing.add_argument("--version", help="its name for people")
    signing.add_argument("--compatible", action="append", help="hardware it runs on; may be repeated")
    signing.add_argument("-o", "--output", type=Path, help="write here; the default is to replace TORRENT")
    checking = _command(commands, "verify", "check signatures", _verify)
    checking.add_argument(
        "--threshold", type=int, default=1, help="how many keys must have signed (default 1)"
    )
    _trust_options(checking)
    showing = _command(commands, "show", "print what a torrent says, and what of it is verified", _show)
    _trust_options(showing)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("torrent", metavar="TORRENT", type=Path)
    parser.set_defaults(run=run, usage_error=parser.error)
    return parser


def _trust_options(parser: argparse.ArgumentParser) -> None:
    for name, about in (
        ("--key", "public key file of a signer; may be repeated, as the next two"),
        ("--certificate", "certificate of a signer, in PEM or DER"),
        ("--root", "certificate of one who issues signers' certificates"),
    ):
        parser.add_argument(name, type=Path, action="append", default=[], help=about)
    parser.add_argument("--signer", help="the name under which the one --key signs, if it is another")
    parser.add_argument(
        "--at", type=_moment, help="time for certificates, 2026-11-21 or seconds; default now"
    )
    parser.add_argument("--allow-sha1", action="store_true", help="take old signatures made with SHA-1")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _sign(options: argparse.Namespace) -> int:
    names = ("compatible", "release", "resource", "version")
    info = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    output = options.output or options.torrent
    if is_pem(options.key) or options.certificate:
        signer_id, signed = _signed_by_certificate(options, info)
    else:
        key = read_secret(options.key)
        signer_id = options.signer or signer_id_of(bytes(key.verify_key))
        signed = sign(_read(options.torrent), signer_id, key, info)
    _replace(output, signed)
    print(f"{output} is signed by {signer_id}")
    return 0


def _signed_by_certificate(options: argparse.Namespace, info: dict[str, Stated]) -> tuple[str, bytes]:
    from bep35.x509.certificate import read_certificates  # here: large, and not everybody has it
    from bep35.x509.rsa import read_rsa_key, sign_with_certificate

    if options.certificate is None:
        raise KeyFileError(f"{options.key} signs in the name of its certificate; give it: --certificate FILE")
    certificate = read_certificates(_read(options.certificate))[0]
    if options.signer not in (None, certificate.signer_id):
        raise SignatureError(f"{options.certificate} names the signer {certificate.signer_id!a}")
    passphrase = None
    if options.passphrase_file is not None:
        passphrase = read_private_pem(options.passphrase_file).partition(b"\n")[0].rstrip(b"\r")
    try:
        key = read_rsa_key(read_private_pem(options.key), passphrase)
    except KeyFileError as error:
        raise KeyFileError(f"{options.key}: {error}") from error
    embed = None if options.embed is None else options.embed == "yes"
    signed = sign_with_certificate(_read(options.torrent), certificate, key, info, embed=embed)
    return certificate.signer_id, signed


def _verify(options: argparse.Namespace) -> int:
    if not (options.key or options.certificate or options.root):
        options.usage_error("nobody is trusted: give --key, --certificate or --root")
    if options.threshold < 1:
        options.usage_error("--threshold is 1 or more")
    trust = _trust(options)
    torrent = parse(_read(options.torrent))
    findings = verdicts.judge(torrent, trust)
    signed_by = len(valid_keys(findings))
    verified = signed_by >= options.threshold
    described = shown.described(torrent, findings)
    if options.json:
        figures = {"threshold": options.threshold, "valid_keys": signed_by, "verified": verified}
        print(json.dumps(described | figures))
    elif verified:
        for signature in described["signatures"]:
            if signature["verdict"] == Verdict.VALID.value:
                print("\n".join(shown.rows_of_signature(signature)))
    if verified:
        return 0
    raise SignatureError(_refusal(options, torrent, trust, findings, signed_by))


def _refusal(
    options: argparse.Namespace, torrent: Torrent, trust: Trust, findings: Sequence[Finding], signed_by: int
) -> str:
    """Why too few keys signed, in one line: those who are known first, then strangers."""
    absent = [f"torrent is not signed by {name}" for name in trust.keys if name not in torrent.signatures]
    by_verdict = sorted(
        (found for found in findings if found.why), key=lambda found: found.verdict is Verdict.UNKNOWN
    )
    reasons = [*absent, *(found.why for found in by_verdict)] or ["torrent is not signed by anybody"]
    more = f"; and {len(reasons) - _REASONS_MAX} more" if len(reasons) > _REASONS_MAX else ""
    told = "; ".join(reasons[:_REASONS_MAX]) + more
    if options.threshold == 1:
        return told
    return f"{signed_by} of the {options.threshold} keys needed have signed: {told}"


def _show(options: argparse.Namespace) -> int:
    torrent = parse(_read(options.torrent))
    described = shown.described(torrent, verdicts.judge(torrent, _trust(options)))
    if options.json:
        print(json.dumps(described))
        return 0
    print("\n".join(shown.rows_of_torrent(described)))
    for signature in described["signatures"]:
        print("\n".join(shown.rows_of_signature(signature)))
    return 0


def _trust(options: argparse.Namespace) -> Trust:
    if options.signer is not None and len(options.key) != 1:
        options.usage_error("--signer goes with exactly one --key")
    public_keys = [read_public(path) for path in options.key]
    return Trust(
        at_s=int(time.time()) if options.at is None else options.at,
        keys={options.signer or signer_id_of(public_key): public_key for public_key in public_keys},
        certificates=_certificates(options.certificate),
        roots=_certificates(options.root),
        allow_sha1=options.allow_sha1,
    )


def _certificates(paths: Sequence[Path]) -> tuple[bytes, ...]:
    if not paths:
        return ()
    from bep35.x509.certificate import read_certificates  # here: large, and not everybody has it

    return tuple(one.der for path in paths for one in read_certificates(_read(path)))


def _moment(text: str) -> int:
    """Seconds since 1970, from themselves or from a date in UTC; `ValueError` is argparse's wrong usage."""
    if text.isdecimal() and text.isascii():
        return int(text)
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _read(path: Path) -> bytes:
    """At most one byte more than a torrent may have, so that a device or a huge file is refused, not read."""
    with open(path, "rb") as file:
        return file.read(SIZE_BYTES_MAX + 1)


def _replace(path: Path, data: bytes) -> None:
    """Write the file whole or not at all."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink()
            raise


if __name__ == "__main__":
    sys.exit(main())
