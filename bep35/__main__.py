"""`python -m bep35 sign|verify|show`: signed torrents from the command line.

Exit codes: 0 done, 1 refused or failed with one line on standard error, 2 wrong usage.

JSON (`--json`, one object, keys stable). `show`: name, length_bytes, piece_bytes, piece_count, infohash,
pieces_root, sha256, size_bytes, and signatures, a list of signer, info (null where it cannot be read as text)
and certificate (true or false); nothing in it is verified. `verify`: signer, public, infohash and the
verified info.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bep35.bencode import SIZE_BYTES_MAX
from bep35.errors import Bep35Error, SignatureError
from bep35.key_file import read_public, read_secret
from bep35.metainfo import Metainfo, SignatureEntry, parse
from bep35.signing import Stated, sign, signer_id_of, stated, verify

_EXAMPLE = """\
example:
  python -m bep35 sign rootfs-2.torrent --key alice.secret.json --resource org.fruit-testbed.os/rootfs \\
      --release 2 --version 1.1 --compatible raspberrypi,3
  python -m bep35 verify rootfs-2.torrent --key alice.public.json --json
  python -m bep35 show rootfs-2.torrent
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is the answer (argparse itself exits with 2 on wrong usage)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except Bep35Error as error:
        print(f"bep35: {error}", file=sys.stderr)
    except OSError as error:
        print(f"bep35: {error.filename or options.torrent}: {error.strerror}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bep35",
        description="Signs and checks torrents (BEP-35, Ed25519, BitTorrent v2).",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="sign|verify|show")
    signing = _command(commands, "sign", "add or replace one signature", _sign)
    signing.add_argument("--key", type=Path, required=True, help="secret key file")
    signing.add_argument("--signer", help="signer id; the default is made from the key")
    signing.add_argument("--resource", help="what the torrent is for; signed, as are the next three")
    signing.add_argument("--release", type=int, help="order of this release")
    signing.add_argument("--version", help="its name for people")
    signing.add_argument("--compatible", action="append", help="hardware it runs on; may be repeated")
    signing.add_argument("-o", "--output", type=Path, help="write here; the default is to replace TORRENT")
    checking = _command(commands, "verify", "check one signature", _verify)
    checking.add_argument("--key", type=Path, required=True, help="public key file")
    checking.add_argument("--signer", help="signer id; the default is made from the key")
    checking.add_argument("--json", action="store_true", help="print one JSON object")
    showing = _command(commands, "show", "print what a torrent says, unverified", _show)
    showing.add_argument("--json", action="store_true", help="print one JSON object")
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
    parser.set_defaults(run=run)
    return parser


def _sign(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in ("compatible", "release", "resource", "version")}
    info = {name: value for name, value in given.items() if value is not None}
    key = read_secret(options.key)
    signer_id = options.signer or signer_id_of(bytes(key.verify_key))
    signed = sign(_read(options.torrent), signer_id, key, info)
    output = options.output or options.torrent
    _replace(output, signed)
    print(f"{output} is signed by {signer_id}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    public_key = read_public(options.key)
    signer_id = options.signer or signer_id_of(public_key)
    metainfo = parse(_read(options.torrent))
    info = verify(metainfo, signer_id, public_key)
    if options.json:
        answer = {
            "signer": signer_id,
            "public": public_key.hex(),
            "infohash": metainfo.infohash.hex(),
            "info": info,
        }
        print(json.dumps(answer))
        return 0
    print(f"{options.torrent} is signed by {signer_id}, who states:")
    _print_rows(info)
    return 0


def _show(options: argparse.Namespace) -> int:
    shown = _shown(parse(_read(options.torrent)))
    if options.json:
        print(json.dumps(shown))
        return 0
    _print_rows({key: value for key, value in shown.items() if key != "signatures"})
    for signature in shown["signatures"]:
        print(f"signed, so it says, by {signature['signer']} (not verified):")
        _print_rows(signature["info"] or {})
    return 0


def _shown(metainfo: Metainfo) -> dict[str, Any]:
    return {
        "name": metainfo.name,
        "length_bytes": metainfo.length_bytes,
        "piece_bytes": metainfo.piece_bytes,
        "piece_count": metainfo.piece_count,
        "infohash": metainfo.infohash.hex(),
        "pieces_root": metainfo.pieces_root.hex(),
        "sha256": hashlib.sha256(metainfo.raw).hexdigest(),
        "size_bytes": len(metainfo.raw),
        "signatures": [
            {
                "signer": signer_id,
                "info": _readable(entry),
                "certificate": entry.certificate is not None,
            }
            for signer_id, entry in metainfo.signatures.items()
        ],
    }


def _readable(entry: SignatureEntry) -> dict[str, Stated] | None:
    try:
        return stated(entry.info)
    except SignatureError:
        return None


def _print_rows(rows: Mapping[str, Stated]) -> None:
    """One value a line, as JSON, which leaves no control character of a stranger's for the terminal to
    obey."""
    for key, value in rows.items():
        print(f"  {json.dumps(key)[1:-1]:<14} {json.dumps(value)}")


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
