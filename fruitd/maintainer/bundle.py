"""The folder of a release in the making.

release.json   what the release is to be; written once, by the build
root.fruit     the swarm's trust root at that time: says whose signatures are needed
image.torrent  the torrent; the first signer adds its BEP-35 signature
previous       the channel's manifest before this one, if it was given: its other releases are carried on
manifest       the record, from the first signature on
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import cattrs
from attrs import field, frozen

from fruitd.errors import RefusedError
from fruitd.maintainer.mistakes import as_refusals
from swarm.news.record import RECORD_BYTES_MAX, Record
from swarm.root_file import load_root
from swarm.trust.key_files import read_bounded
from swarm.trust.manifest import TORRENT_BYTES_MAX, Manifest, Release
from swarm.trust.root import TrustRoot

PLAN_FILE = "release.json"
ROOT_FILE = "root.fruit"
TORRENT_FILE = "image.torrent"
PREVIOUS_FILE = "previous"
MANIFEST_FILE = "manifest"
PLAN_BYTES_MAX = 64 * 1024
_TYPE = "fruit-release"
_SCHEMA = 1


@frozen
class Plan:
    """What `release.json` holds."""

    swarm: str
    channel: str
    resource: str
    release: int
    version: str
    compatible: tuple[str, ...]
    sequence: int
    """Order of the manifest in its channel."""
    issued_at_s: int
    image: str
    """Absolute path on the machine that built it."""
    length_bytes: int
    infohash: str
    """Hex."""

    def encode(self) -> bytes:
        """The file."""
        document = {"type": _TYPE, "schema": _SCHEMA, **attrs.asdict(self)}
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Plan:
        """Read the file; raises `RefusedError`."""
        try:
            document = json.loads(data.decode())
            if document.pop("type") != _TYPE or document.pop("schema") != _SCHEMA:
                raise RefusedError(f"{PLAN_FILE} is of another kind or version; a newer fruit may read it")
            plan = _converter().structure(document, cls)
        except (
            ValueError,
            RecursionError,
            AttributeError,
            LookupError,
            TypeError,
            cattrs.BaseValidationError,
        ) as error:
            raise RefusedError(f"{PLAN_FILE} is damaged; build the release again") from error
        return plan

    def release_of(self, torrent: bytes, torrent_sha256: bytes, signer: bytes) -> Release:
        """The manifest's row for this plan and this signed torrent."""
        return Release(
            resource=self.resource,
            compatible=self.compatible,
            release=self.release,
            version=self.version,
            length_bytes=self.length_bytes,
            infohash=bytes.fromhex(self.infohash),
            torrent_sha256=torrent_sha256,
            torrent_bytes=len(torrent),
            signer=signer,
        )


@frozen
class Bundle:
    """A release's folder, read and checked file by file.

    Whether the files agree is `signing` and `inspect`.
    """

    folder: Path
    plan: Plan
    root: TrustRoot
    torrent: bytes = field(repr=False)
    manifest: Record | None
    previous: Record | None

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Raises `RefusedError` naming the file that is missing or damaged."""
        if not (folder / PLAN_FILE).is_file():
            raise RefusedError(f"{folder} holds no release: fruit release build makes one")
        with as_refusals(str(folder)):
            return cls(
                folder=folder,
                plan=Plan.decode(read_bounded(folder / PLAN_FILE, PLAN_BYTES_MAX)),
                root=load_root(read_bounded(folder / ROOT_FILE, RECORD_BYTES_MAX)),
                torrent=read_bounded(folder / TORRENT_FILE, TORRENT_BYTES_MAX),
                manifest=read_record(folder / MANIFEST_FILE),
                previous=read_record(folder / PREVIOUS_FILE),
            )

    def compose(self, release: Release) -> Record:
        """The unsigned manifest: this release, and what it carries on from the previous one."""
        carried = () if self.previous is None else carried_on(Manifest.decode(self.previous.body), release)
        plan = self.plan
        manifest = Manifest(plan.swarm, plan.channel, plan.issued_at_s, (release, *carried))
        return Record("manifest", plan.channel.encode(), plan.sequence, manifest.encode())


def carried_on(previous: Manifest, release: Release) -> tuple[Release, ...]:
    """The rows of the previous manifest that some hardware still needs beside the new release."""
    return tuple(
        row
        for row in previous.releases
        if row.resource != release.resource or not set(row.compatible) <= set(release.compatible)
    )


def read_record(path: Path) -> Record | None:
    """The record in a file; None where there is no file."""
    if not path.exists():
        return None
    return Record.decode(read_bounded(path, RECORD_BYTES_MAX))


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, str):
        converter.register_structure_hook(kind, _exactly)
    return converter


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not {kind.__name__}")
    return value
