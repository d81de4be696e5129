"""Everybody who may sign in the swarm under attack: three keys for each role, of which two must agree; and what they signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve

from bep35.metainfo import build, parse
from bep35.signing import sign, signer_id_of
from simulations.world.images import Image
from simulations.world.maintainer import CALENDAR_S, CHANNEL, HARDWARE, RESOURCE, SWARM, Maintainer, Published
from swarm.joining import TokenFile, join, revocation_record, token_record
from swarm.news.record import Record
from swarm.root_file import root_record
from swarm.signing import signed
from swarm.status import NodeStatus, status_record
from swarm.trust.freshness import Freshness
from swarm.trust.keys import SecretKey
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, RoleKeys, TrustRoot
from swarm.trust.tokens import JoinToken, Revocation
from swarm.trust.trusted_set import torrent_statement

NOW_S = int(CALENDAR_S)
DAY_S = 86_400
PIECE_BYTES = 16 * 1024


def key(name: str) -> SecretKey:
    """A key that is the same in every run."""
    return SecretKey(hashlib.sha256(b"attacks " + name.encode()).digest(), name)


MALLORY = key("mallory")
"""Holds no role."""
KEYS = {
    role: tuple(key(f"{role}-{n}") for n in range(3)) for role in (Role.ROOT, Role.FRESHNESS, Role.OPERATOR)
}


class Court:
    """The maintainers of one world, given stricter roles: two of three everywhere."""

    def __init__(self, maintainer: Maintainer) -> None:
        self.maintainer = maintainer
        releasers = tuple(SecretKey(bytes(k), f"release-{n}") for n, k in enumerate(maintainer.release_keys))
        self.keys = {**KEYS, Role.RELEASE: releasers}
        self.root = self.next_root(1)
        self.token = self.new_token("cards")
        maintainer.roots[:] = [self.sign_root(self.root)]
        maintainer.token = self.token

    def quorum(self, role: Role) -> tuple[SecretKey, ...]:
        """As many as must."""
        return self.keys[role][:2]

    # ------------------------------------------------------------------ roots

    def next_root(self, version: int, expires_at_s: int = 0, **held: Sequence[SecretKey]) -> TrustRoot:
        """A root of this swarm; `held`: role to other keys, of which two are needed, or all where there are fewer."""
        keys = self.keys | {Role(role): tuple(by) for role, by in held.items()}
        names = {k.public.raw: k.name for by in keys.values() for k in by}
        roles = {r: RoleKeys(min(2, len(by)), frozenset(k.public.raw for k in by)) for r, by in keys.items()}
        return TrustRoot(SWARM, version, names, roles, expires_at_s)

    def sign_root(self, root: TrustRoot, *keys: SecretKey) -> Record:
        """Its record, signed by a quorum of today's root keys unless told otherwise."""
        return signed(root_record(root), *(keys or self.quorum(Role.ROOT)))

    # ------------------------------------------------------------------ releases

    def torrent(
        self, image: Image, release: int, signer: SecretKey, stated: dict[str, Any] | None = None
    ) -> tuple[bytes, Release]:
        """A signed torrent of the image, and the manifest's row for it; `stated`: what its signature says otherwise."""
        unsigned = build(f"rootfs-{release}.img", image.length_bytes, image.leaves, PIECE_BYTES)
        row = Release(
            RESOURCE, (HARDWARE,), release, f"1.{release}", image.length_bytes, parse(unsigned).infohash,
            bytes(32), 1, signer.public.raw,
        )  # fmt: skip
        statement = torrent_statement(row) | (stated or {})
        return self.named(row, sign(unsigned, signer_id_of(signer.public.raw), signer.signing_key, statement))

    @staticmethod
    def named(row: Release, torrent: bytes) -> tuple[bytes, Release]:
        """The torrent, and the row with its hash and size."""
        sha256 = hashlib.sha256(torrent).digest()
        return torrent, evolve(row, torrent_sha256=sha256, torrent_bytes=len(torrent))

    def manifest(
        self,
        sequence: int,
        rows: Iterable[Release],
        keys: Sequence[SecretKey] | None = None,
        *,
        record_key: bytes = CHANNEL.encode(),
        **changes: Any,
    ) -> Record:
        """A manifest, signed by a quorum unless told otherwise; `changes` go into its body."""
        body = evolve(Manifest(SWARM, CHANNEL, NOW_S, tuple(rows)), **changes)
        unsigned = Record("manifest", record_key, sequence, body.encode())
        return signed(unsigned, *(self.quorum(Role.RELEASE) if keys is None else keys))

    def published(self, image: Image, release: int, sequence: int, at_s: float) -> Published:
        """A good release, as the world's nodes and checker know one."""
        signer = self.quorum(Role.RELEASE)[0]
        torrent, row = self.torrent(image, release, signer)
        record = self.manifest(sequence, [row], issued_at_s=int(at_s))
        known: dict[str, Any] = {
            "release": release, "compatible": row.compatible, "image": image, "infohash": row.infohash,
            "piece_bytes": PIECE_BYTES, "torrent": torrent, "manifest": record, "signer": signer.public.raw,
        }  # fmt: skip
        return Published(**known)

    # ------------------------------------------------------------------ freshness

    def fresh(
        self, about: Record, at_s: float = NOW_S, keys: Sequence[SecretKey] | None = None, **changes: Any
    ) -> Record:
        """The word that this manifest is current, signed by a quorum unless told otherwise."""
        record_key = changes.pop("record_key", None)
        sequence = changes.pop("sequence", int(at_s))
        said = Freshness(SWARM, CHANNEL, about.sequence, about.content_hash, int(at_s), 7 * DAY_S)
        said = evolve(said, **changes)
        unsigned = Record("fresh", record_key or said.key, sequence, said.encode())
        return signed(unsigned, *(self.quorum(Role.FRESHNESS) if keys is None else keys))

    # ------------------------------------------------------------------ members

    def new_token(self, name: str, keys: Sequence[SecretKey] | None = None, **terms: Any) -> TokenFile:
        """A join token, signed by a quorum of operators unless told otherwise."""
        secret = key(f"token-{name}")
        terms = {"swarm": SWARM} | terms
        unsigned = token_record(JoinToken(name=name, public=secret.public.raw, **terms), NOW_S - 1000)
        return TokenFile(secret, signed(unsigned, *(self.quorum(Role.OPERATOR) if keys is None else keys)))

    def member(self, node: SecretKey, token: TokenFile | None = None, at_s: float = NOW_S) -> Record:
        """The node's certificate."""
        return join(token or self.token, node, self.root, at_s).member

    def revoked(self, target: bytes, keys: Sequence[SecretKey] | None = None, **words: Any) -> Record:
        """Operators' word about a token or a node."""
        sequence = words.pop("sequence", NOW_S)
        said = Revocation(**{"swarm": SWARM, "target": target, "lifted": False, "reason": "stolen"} | words)
        return signed(
            revocation_record(said, sequence), *(self.quorum(Role.OPERATOR) if keys is None else keys)
        )


def status(node: SecretKey, at_s: float = NOW_S, name: str = "", by: SecretKey | None = None) -> Record:
    """The node says that it is well; `by`: somebody else says so."""
    said = NodeStatus(int(at_s), name or node.name, "", 0, "", b"", "idle", "", (), 0, "test")
    record = status_record(said, node, at_s)
    return record if by is None else signed(evolve(record, signatures=()), by)
