"""Releases in the making, without files of images: keys that are the same in every run, and drafts to be spoilt."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import attrs

from fruitd.maintainer.bundle import Bundle, Plan
from fruitd.maintainer.fleet import KnownNode
from swarm.news.record import Record
from swarm.root_file import RootChain, root_record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot

RESOURCE = "org.fruit-testbed.os/rootfs"
NOW_S = 1_800_000_000
MIB = 1024 * 1024


def key(name: str) -> SecretKey:
    """A key that is the same in every run."""
    return SecretKey(hashlib.sha256(name.encode()).digest(), name)


ANN, CORA, DAN, EVE, MALLORY = (key(name) for name in ("ann", "cora", "dan", "eve", "mallory"))


def chain(*releasers: SecretKey, expires_at_s: int = 0, swarm: str = "orchard") -> RootChain:
    """Ann is root; these may sign releases, two of them together."""
    names = {k.public.raw: k.name for k in (ANN, *releasers)}
    roles = {
        Role.ROOT: RoleKeys(1, frozenset({ANN.public.raw})),
        Role.RELEASE: RoleKeys(2, frozenset(k.public.raw for k in releasers)),
    }
    root = TrustRoot(swarm, 1, names, roles, expires_at_s)
    return RootChain.of([signed(root_record(root), ANN)])


CHAIN = chain(CORA, DAN, EVE)
PLAN = Plan(
    swarm="orchard",
    channel="stable",
    resource=RESOURCE,
    release=4,
    version="2026.11",
    compatible=("pi4", "pi5"),
    sequence=18,
    issued_at_s=NOW_S,
    image="/images/rootfs.img",
    length_bytes=400 * MIB,
    infohash="ab" * 32,
    image_kind="ext",
    image_mtime_ns=1,
    anyway="",
)


def draft(previous: Record | None = None, **changes: Any) -> Bundle:
    """Release 4 for pi4 and pi5, not signed; `changes` go into its plan."""
    return Bundle(Path("release-4"), attrs.evolve(PLAN, **changes), CHAIN, b"", None, previous)


def row(release: int, version: str, *compatible: str, **changes: Any) -> Release:
    """A row of a manifest."""
    made = Release(
        RESOURCE,
        compatible,
        release,
        version,
        100 * MIB,
        bytes([release] * 32),
        bytes(32),
        1,
        CORA.public.raw,
    )
    return attrs.evolve(made, **changes)


def manifest(*rows: Release, sequence: int = 17, **changes: Any) -> Record:
    """Signed by cora and dan; `changes` go into the manifest."""
    made = attrs.evolve(Manifest("orchard", "stable", NOW_S - 1000, rows), **changes)
    unsigned = Record("manifest", made.channel.encode(), sequence, made.encode())
    return signed(unsigned, CORA, DAN)


BEFORE = manifest(row(3, "2026.10", "pi4", "pi5"))
"""What the channel has before `draft()`."""


def node(name: str = "fruit-03", **changes: Any) -> KnownNode:
    """A Pi 4 with slots of 512 MiB that runs release 3."""
    made = KnownNode(name, frozenset({"pi4"}), 512 * MIB, 3, "2026.10", frozenset())
    return attrs.evolve(made, **changes)
