"""What believing costs: a manifest that three of five maintainers signed, against the three verifications it needs."""

from __future__ import annotations

import hashlib
import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.rows import NotMeasurableError, Row, at_most
from swarm.news.record import Record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import RELEASES_MAX, Manifest, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.trusted_set import TrustedSet

_SODIUM: Any = importlib.import_module("nacl._sodium")
"""libsodium's own calls, without what pynacl puts around them; that module has no types."""
KEYS, THRESHOLD = 5, 3
ROUNDS = 400
"""Pairs: one of ours, then one of libsodium's, so that what else the machine does falls on both."""


def verify() -> Iterator[Row]:
    """From the bytes of a peer to the manifest that is believed; the bar is twice the bare verifications."""
    for name, releases, signers in (
        ("verify_manifest", 1, THRESHOLD),
        ("verify_largest_manifest", RELEASES_MAX, KEYS),
    ):
        encoded, believe, bare = _case(releases, signers)
        ratio, ours_us = _ratio(believe, bare)
        yield at_most(
            name,
            ratio,
            "x",
            2.0,
            f"three bare libsodium verifications of its bytes; {len(encoded)} bytes, {signers} signatures, {releases} "
            f"releases decoded and believed in {ours_us:.0f} µs; median of {ROUNDS} pairs",
        )


def _case(releases: int, signers: int) -> tuple[bytes, Callable[[], object], Callable[[], object]]:
    """A signed manifest as it travels, what a node does with it, and the three verifications alone."""
    keys = [SecretKey(hashlib.sha256(bytes([n])).digest(), f"key-{n}") for n in range(KEYS)]
    held = frozenset(key.public.raw for key in keys)
    roles = {Role.ROOT: RoleKeys(1, held), Role.RELEASE: RoleKeys(THRESHOLD, held)}
    root = TrustRoot("orchard", 1, {key.public.raw: key.name for key in keys}, roles)
    rows = tuple(
        Release(
            resource="org.fruit-testbed.os/rootfs",
            compatible=(f"raspberrypi,{n}",),
            release=100 + n,
            version="2026.11",
            length_bytes=512 * 1024 * 1024,
            infohash=hashlib.sha256(bytes([n])).digest(),
            torrent_sha256=hashlib.sha256(bytes([n, n])).digest(),
            torrent_bytes=80_000,
            signer=keys[0].public.raw,
        )
        for n in range(releases)
    )
    body = Manifest("orchard", "stable", 1_800_000_000, rows).encode()
    record = signed(Record("manifest", b"stable", 17, body), *keys[:signers])
    message = record.signed_bytes
    signed_messages = [(s.signature + message, s.public_key) for s in record.signatures[:THRESHOLD]]
    opened, opened_bytes = (
        _SODIUM.ffi.new("unsigned char[]", len(message) + 64),
        _SODIUM.ffi.new("unsigned long long *"),
    )

    def bare() -> None:
        for signed_message, public_key in signed_messages:
            size_bytes = len(signed_message)
            if (
                _SODIUM.lib.crypto_sign_open(opened, opened_bytes, signed_message, size_bytes, public_key)
                != 0
            ):
                raise NotMeasurableError("libsodium does not verify what was signed")

    encoded, trusted = record.encode(), TrustedSet(root)
    return encoded, lambda: trusted.check_manifest(Record.decode(encoded)), bare


def _ratio(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float]:
    """The median of the ratios, and the median of ours in microseconds."""
    pairs = [(_took_s(ours), _took_s(bare)) for _ in range(ROUNDS)]
    return statistics.median(a / b for a, b in pairs), 1e6 * statistics.median(a for a, _ in pairs)


def _took_s(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s
