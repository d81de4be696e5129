"""Whether an image may boot on this node, judged from what the maintainers signed. Pure.

The daemon has judged the same before. It speaks with strangers and may be taken over; the keeper does not and believes nothing
the daemon says.
"""

from __future__ import annotations

import hashlib

from attrs import frozen

import bep35.metainfo
from bep35.errors import Bep35Error
from fruitd.errors import RefusedError
from fruitd.keeper.book import ROOTS_MAX, Book, Image
from fruitd.keeper.port import Proof
from swarm.errors import SwarmError
from swarm.news.record import Record
from swarm.trust.root import Role, TrustRoot, check_successor
from swarm.trust.trusted_set import TrustedSet


@frozen
class Belief:
    """Whom this node believes, and what it is. From the configuration, which the daemon cannot write."""

    root: TrustRoot
    resource: str
    hardware: frozenset[str]


def judge(belief: Belief, book: Book, slot: str, proof: Proof) -> tuple[Image, Book]:
    """The image a slot may be read back against, and the book with the trust roots that were followed.

    Raises:
        RefusedError: the proof does not hold, in words.
    """
    try:
        if not proof.manifest:
            return _proved_before(book, slot, proof), book
        book, root = _follow(belief, book, proof.roots)
        trusted = TrustedSet(root)
        manifest = trusted.check_manifest(Record.decode(proof.manifest))
        release = next((r for r in manifest.releases if r.infohash == proof.infohash), None)
        if release is None:
            raise RefusedError(f"manifest does not name image {proof.infohash.hex()[:16]}")
        if release.resource != belief.resource or not belief.hardware & set(release.compatible):
            raise RefusedError(f"{release.resource} {release.version} is not for this node")
        book.check_release(release.release)
        metainfo = trusted.check_torrent(release, proof.torrent)
    except SwarmError as error:
        raise RefusedError(str(error)) from error
    return Image(proof.infohash, metainfo.pieces_root, metainfo.length_bytes, release.release), book


def _proved_before(book: Book, slot: str, proof: Proof) -> Image:
    image = book.proved_before(slot, proof.infohash)
    if image is None:
        raise RefusedError(
            f"no manifest names image {proof.infohash.hex()[:16]}, and slot {slot} was not proved for it before"
        )
    try:
        metainfo = bep35.metainfo.parse(proof.torrent)
    except Bep35Error as error:
        raise RefusedError(f"torrent: {error}") from error
    if metainfo.infohash != image.infohash:
        raise RefusedError("torrent is of another image than the slot was proved for")
    return image


def _follow(belief: Belief, book: Book, offered: tuple[bytes, ...]) -> tuple[Book, TrustRoot]:
    """The newest trust root of the chains known and offered (TUF 5.3); expiry is the daemon's to judge, which has the time."""
    if len(offered) > ROOTS_MAX:
        raise RefusedError(f"{len(offered)} trust roots were offered, more than {ROOTS_MAX}")
    chain: list[bytes] = []
    root = belief.root
    # Of two of one version, the one that was followed before comes first, and the other is passed over.
    for raw in sorted([*book.roots, *offered], key=_version):
        if _version(raw) <= root.version:
            continue
        root = check_successor(root, Record.decode(raw))
        chain.append(raw)
    return book.believing(tuple(chain), _holders(root)), root


def _version(raw: bytes) -> int:
    return Record.decode(raw).sequence


def _holders(root: TrustRoot) -> bytes:
    return hashlib.sha256(b"".join(sorted(root.roles[Role.RELEASE].keys))).digest()
