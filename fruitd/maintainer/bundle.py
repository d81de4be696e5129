"""The folder of a release in the making.

release.json   what the release is to be; written once, by the build
root.fruit     the swarm's trust root at that time: says whose signatures are needed
image.torrent  the torrent; the first signer adds the BEP-35 signature that the manifest names
from-*.parcel  the release compressed against an older image, or against nothing; not needed for signing
from-*.torrent the torrent of each, signed with the image's
previous       the channel's manifest before this one, if it was given: its other releases are carried on
manifest       the record, from the first signature on
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import cattrs
from attrs import field, frozen

import swarm.errors
from fruitd.errors import RefusedError
from fruitd.maintainer.mistakes import as_refusals
from swarm.news.record import RECORD_BYTES_MAX, Record
from swarm.root_file import ROOT_FILE_BYTES_MAX, RootChain, load_chain
from swarm.trust.key_files import read_bounded
from swarm.trust.manifest import PARCELS_MAX, TORRENT_BYTES_MAX, Manifest, NamedParcel, Release
from swarm.trust.root import Role, TrustRoot
from swarm.trust.trusted_set import TrustedSet

PLAN_FILE = "release.json"
ROOT_FILE = "root.fruit"
TORRENT_FILE = "image.torrent"
PREVIOUS_FILE = "previous"
MANIFEST_FILE = "manifest"
PLAN_BYTES_MAX = 64 * 1024
_TYPE = "fruit-release"
_SCHEMA = 1


@frozen
class PlannedParcel:
    """One of a release's parcels, as `release.json` tells of it."""

    from_root: str
    """Hex: pieces root of the image it starts from; empty: it starts from nothing."""
    from_image: str
    """Where that image was, on the machine that built it."""
    length_bytes: int
    infohash: str

    @property
    def name(self) -> str:
        """What its files in the folder are called, without their endings."""
        return f"from-{self.from_root[:16] or 'nothing'}"

    def named(self, torrent: bytes | None) -> NamedParcel:
        """How the manifest names it, with this signed torrent; None: it is not known yet."""
        return NamedParcel(
            infohash=bytes.fromhex(self.infohash),
            torrent_sha256=hashlib.sha256(torrent or b"").digest(),
            torrent_bytes=len(torrent or b"x"),
            length_bytes=self.length_bytes,
            from_root=bytes.fromhex(self.from_root),
        )


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
    """Hex; all zeros until the image is hashed."""
    image_kind: str
    """The file system it holds (`image_kind`); empty: none that is known."""
    image_mtime_ns: int
    """When the image was last written, as its file system told at the build."""
    anyway: str
    """Why it was built in spite of mistakes that were found then; empty: there were none."""
    parcels: tuple[PlannedParcel, ...] = ()
    """In the order of their roots."""

    @property
    def words(self) -> str:
        """Which release it is, for people."""
        what = f"{self.resource} release {self.release} ({self.version}) for {', '.join(self.compatible)}"
        return f"{what}; manifest {self.sequence} of channel {self.channel} of swarm {self.swarm}"

    @property
    def signed_part(self) -> Plan:
        """What of it is signed: two plans of one release may differ in where and how it was built."""
        parcels = tuple(attrs.evolve(parcel, from_image="") for parcel in self.parcels)
        return attrs.evolve(self, image="", image_kind="", image_mtime_ns=0, anyway="", parcels=parcels)

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
            document.setdefault("parcels", [])  # release.json of before there were parcels
            plan = _converter().structure(document, cls)
            _check_parcels(plan.parcels)
        except (
            ValueError,
            RecursionError,
            AttributeError,
            LookupError,
            TypeError,
            cattrs.ForbiddenExtraKeysError,
        ) as error:
            raise RefusedError(f"{PLAN_FILE} is damaged; build the release again") from error
        return plan

    def release_of(
        self, torrent: bytes, torrent_sha256: bytes, signer: bytes, parcels: Sequence[bytes] | None = None
    ) -> Release:
        """The manifest's row for this plan and this signed torrent; `parcels` are those of its parcels, None: not known yet."""
        torrents: Sequence[bytes | None] = [None] * len(self.parcels) if parcels is None else parcels
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
            parcels=tuple(parcel.named(raw) for parcel, raw in zip(self.parcels, torrents, strict=True)),
        )


@frozen
class Bundle:
    """A release's folder, read and checked file by file.

    Whether the files agree is `signing` and `inspect`.
    """

    folder: Path
    plan: Plan
    chain: RootChain
    torrent: bytes = field(repr=False)
    manifest: Record | None
    previous: Record | None
    parcels: tuple[bytes, ...] = field(default=(), repr=False)
    """The torrent of each parcel of the plan, in its order."""

    @property
    def root(self) -> TrustRoot:
        """The trust root at the build: says whose signatures are needed."""
        return self.chain.newest

    @property
    def hashed(self) -> bool:
        """False while the image's hashes are not known yet."""
        return any(bytes.fromhex(self.plan.infohash))

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Raises `RefusedError` naming the file that is missing or damaged."""
        if not (folder / PLAN_FILE).is_file():
            raise RefusedError(f"{folder} holds no release: fruit release build makes one")
        with as_refusals(str(folder)):
            plan = Plan.decode(read_bounded(folder / PLAN_FILE, PLAN_BYTES_MAX))
            return cls(
                folder=folder,
                plan=plan,
                chain=load_chain(read_bounded(folder / ROOT_FILE, ROOT_FILE_BYTES_MAX)),
                torrent=read_bounded(folder / TORRENT_FILE, TORRENT_BYTES_MAX),
                manifest=read_record(folder / MANIFEST_FILE),
                previous=read_record(folder / PREVIOUS_FILE),
                parcels=tuple(
                    read_bounded(folder / f"{parcel.name}.torrent", TORRENT_BYTES_MAX)
                    for parcel in plan.parcels
                ),
            )

    def signers(self, root: TrustRoot | None = None) -> frozenset[bytes]:
        """The release keys, of `root` or else of the folder's own, that have validly signed the manifest."""
        if self.manifest is None:
            return frozenset()
        return (root or self.root).valid_signers(
            Role.RELEASE, self.manifest.signed_bytes, self.manifest.signatures
        )

    def compose(self, release: Release) -> Record:
        """The unsigned manifest: this release, and what it carries on from the previous one."""
        carried = () if self.previous is None else carried_on(Manifest.decode(self.previous.body), release)
        plan = self.plan
        manifest = Manifest(plan.swarm, plan.channel, plan.issued_at_s, (release, *carried))
        return Record("manifest", plan.channel.encode(), plan.sequence, manifest.encode())

    def intended(self) -> Manifest:
        """What the manifest says or will say; this release first. Until somebody has signed, torrent and signer stand open."""
        open_row = self.plan.release_of(b"x", bytes(32), bytes(32))
        record = self.manifest if self.manifest is not None else self.compose(open_row)
        return Manifest.decode(record.body)


def carried_on(previous: Manifest, release: Release) -> tuple[Release, ...]:
    """The rows of the previous manifest that some hardware still needs beside the new release."""
    return tuple(
        row
        for row in previous.releases
        if row.resource != release.resource or not set(row.compatible) <= set(release.compatible)
    )


def check_before(record: Record, roots: Sequence[TrustRoot]) -> Manifest:
    """The manifest before a release, if enough have signed it by one of the roots of a chain.

    An older root will do: a change of keys forgets none of the numbers that were used under it. Raises `RefusedError`.
    """
    refusal: swarm.errors.RefusedError | None = None
    for root in reversed(roots):
        try:
            return TrustedSet(root).check_manifest(record)
        except swarm.errors.RefusedError as error:
            refusal = refusal or error
    assert refusal is not None, "a chain has at least one root"
    with as_refusals("previous manifest"):
        raise refusal


def read_record(path: Path) -> Record | None:
    """The record in a file; None where there is no file."""
    if not path.exists():
        return None
    return Record.decode(read_bounded(path, RECORD_BYTES_MAX))


def _check_parcels(parcels: Sequence[PlannedParcel]) -> None:
    """Their roots become names of files: nothing but hex, each once. Raises `ValueError`."""
    roots = [parcel.from_root for parcel in parcels]
    fits = all(re.fullmatch("([0-9a-f]{64})?", p.from_root) for p in parcels)
    if not fits or roots != sorted(set(roots)) or len(roots) > PARCELS_MAX:
        raise ValueError("parcels")
    if not all(re.fullmatch("[0-9a-f]{64}", p.infohash) and p.length_bytes > 0 for p in parcels):
        raise ValueError("parcels")


@cache
def _converter() -> cattrs.Converter:
    # The first fault ends it: gathered, they take 5 KB of memory for each byte of a list of nonsense.
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
    for kind in (int, str):
        converter.register_structure_hook(kind, _exactly)
    return converter


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not {kind.__name__}")
    return value
