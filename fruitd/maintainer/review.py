"""The mistakes people make with releases, found before nodes see them. Pure.

A mistake is final where nodes would refuse the release, or two of them would run different bytes under one number. The others may
be meant: new hardware that no node has yet, a machine without network whose clock is wrong. They are refused too, until somebody
says why they are meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from fruitd.amounts import line, moment, size
from fruitd.errors import RefusedError
from fruitd.maintainer.bundle import Bundle
from fruitd.maintainer.fleet import KnownNode
from fruitd.maintainer.versions import goes_back
from swarm.news.record import Record
from swarm.trust.manifest import Manifest, Release
from swarm.trust.root import Role, TrustRoot

CLOCK_SLACK_S = 3600.0
"""A release may say it was made this long after now. Less would refuse ordinary clocks; more would let a wrong one through."""
_NAMED_MAX = 3


@frozen
class Mistake:
    """Something that speaks against a release."""

    what: str
    """A stable word, listed in docs/releasing.md."""
    why: str
    """What is wrong with what, and what to do."""
    final: bool
    """True: there is no way around it."""


@frozen
class Known:
    """What is known beside the release's folder. The less there is, the fewer mistakes can be found."""

    manifests: tuple[Record, ...] = ()
    """Manifests of the channel that nodes may already have."""
    nodes: tuple[KnownNode, ...] | None = None
    root: TrustRoot | None = None
    """The newest trust root; None: the one in the folder."""
    now_s: float | None = None
    """None: nothing is judged by the time."""
    image_bytes_mtime_ns: tuple[int, int] | None = None
    """Size and time of the file that the release was built from, where it can be seen."""


def review(bundle: Bundle, known: Known) -> tuple[Mistake, ...]:
    """Every mistake that can be seen, final ones first. Raises `RefusedError` where a manifest cannot be read."""
    found = [*_against_manifests(bundle, known), *_trust(bundle, known), *_times(bundle, known)]
    found += [*_nodes(bundle, known.nodes or ()), *_image(bundle, known)]
    return tuple(sorted(dict.fromkeys(found), key=lambda mistake: not mistake.final))


def refuse(mistakes: Sequence[Mistake], anyway: str) -> None:
    """Raise `RefusedError` with all mistakes that `anyway`, a reason for those that are meant, does not cover."""
    standing = [mistake for mistake in mistakes if mistake.final or not anyway]
    if not standing:
        return
    words = "; ".join(mistake.why for mistake in standing)
    meant = "" if any(m.final for m in standing) else " (if this is meant, say why: --anyway 'REASON')"
    raise RefusedError(words + meant)


def _against_manifests(bundle: Bundle, known: Known) -> Iterator[Mistake]:
    own = None if bundle.manifest is None else bundle.manifest.content_hash
    before = {r.content_hash: r for r in (*known.manifests, bundle.previous) if r is not None}
    after = bundle.intended()
    for content_hash, record in before.items():
        if content_hash == own:
            continue
        manifest = Manifest.decode(record.body)
        if (manifest.swarm, manifest.channel) != (bundle.plan.swarm, bundle.plan.channel):
            yield Mistake(
                "another-channel",
                f"the manifest before it is of channel {manifest.channel} of swarm {manifest.swarm}, this release is for "
                f"{bundle.plan.channel} of {bundle.plan.swarm}: give the right --previous",
                True,
            )
            continue
        yield from _order(bundle, record)
        for old in manifest.releases:
            yield from _row(old, after, bundle)
        if bundle.plan.issued_at_s < manifest.issued_at_s:
            yield Mistake(
                "clock-behind",
                f"it says it was made at {moment(bundle.plan.issued_at_s)}, before manifest {record.sequence} of "
                f"{moment(manifest.issued_at_s)}: set the clock and build again",
                False,
            )


def _order(bundle: Bundle, record: Record) -> Iterator[Mistake]:
    if record.sequence >= bundle.plan.sequence:
        yield Mistake(
            "sequence-not-higher",
            f"channel {bundle.plan.channel} is already at manifest {record.sequence}, this one is {bundle.plan.sequence}, "
            f"and nodes follow the highest: build again with --previous, or --sequence {record.sequence + 1}",
            True,
        )


def _row(old: Release, after: Manifest, bundle: Bundle) -> Iterator[Mistake]:
    """What becomes of one row of a manifest before."""
    dropped, back, reused, older = [], [], [], []
    for hardware in old.compatible:
        new = after.release_for(old.resource, frozenset({hardware}))
        if new is None:
            dropped.append(hardware)
        elif new.release < old.release:
            back.append(hardware)
        elif new.release == old.release and bundle.hashed and new.infohash != old.infohash:
            reused.append(hardware)
        elif goes_back(old.version, new.version):
            older.append(hardware)
    was = f"release {old.release} ({line(old.version)}) of {old.resource}"
    if dropped:
        why = f"{_list(dropped)} would lose {was}: build with --previous to carry it on"
        yield Mistake("hardware-dropped", why, False)
    if back:
        why = f"{_list(back)} is already at {was}, and nodes never go back: use --release {old.release + 1} or higher"
        yield Mistake("release-backwards", why, True)
    if reused:
        why = (
            f"{was} is out already with other bytes for {_list(reused)}: a number is never used twice, so use "
            f"--release {old.release + 1} or higher"
        )
        yield Mistake("release-reused", why, True)
    if older:
        yield Mistake("version-backwards", f"its version is older than {was} for {_list(older)}", False)


def _trust(bundle: Bundle, known: Known) -> Iterator[Mistake]:
    root = known.root or bundle.root
    if root.swarm != bundle.plan.swarm:
        why = f"the release is for swarm {bundle.plan.swarm}, the trust root is of {root.swarm}"
        yield Mistake("another-swarm", why, True)
        return
    if root.version < bundle.root.version:
        why = f"the release was built under trust root {bundle.root.version}, the one given is {root.version}: get the newest"
        yield Mistake("root-not-newest", why, False)
    if known.now_s is not None and root.expired(known.now_s):
        yield Mistake(
            "root-expired",
            f"trust root {root.version} expired at {moment(root.expires_at_s)}, and nodes install nothing by it: rotate it "
            "first (fruit trust rotate)",
            False,
        )
    signed = bundle.intended().releases[0 if bundle.manifest is not None else 1 :]
    for release in signed:
        if not root.holds(Role.RELEASE, release.signer):
            yield Mistake(
                "torrent-signer",
                f"the torrent of {release.resource} release {release.release} is signed by "
                f"{_name(release.signer, root, bundle)}, which holds no release key of trust root {root.version}: build and sign "
                "it again",
                True,
            )
    for signature in bundle.manifest.signatures if bundle.manifest is not None else ():
        if not root.holds(Role.RELEASE, signature.public_key):
            yield Mistake(
                "signer-not-in-role",
                f"{_name(signature.public_key, root, bundle)} has signed but holds no release key of trust root {root.version}: "
                "that signature does not count",
                False,
            )


def _times(bundle: Bundle, known: Known) -> Iterator[Mistake]:
    if known.now_s is not None and bundle.plan.issued_at_s > known.now_s + CLOCK_SLACK_S:
        yield Mistake(
            "from-the-future",
            f"it says it was made at {moment(bundle.plan.issued_at_s)}, and now is {moment(known.now_s)}: set the clock that "
            "is wrong; where it was the one at the build, build again",
            False,
        )


def _nodes(bundle: Bundle, nodes: Iterable[KnownNode]) -> Iterator[Mistake]:
    plan = bundle.plan
    said = [node for node in nodes if node.hardware is not None]
    absent = [h for h in plan.compatible if not any(node.fits((h,)) for node in said)]
    if said and absent:
        yield Mistake(
            "hardware-unknown",
            f"none of {len(said)} known nodes is {_list(absent)}; they are "
            f"{_list(sorted({h for n in said for h in n.hardware or ()}))}",
            False,
        )
    meant = [node for node in said if node.fits(plan.compatible)]
    small = sorted((n.slot_bytes, n.name) for n in meant if n.slot_bytes and n.slot_bytes < plan.length_bytes)
    if small:
        yield Mistake(
            "image-too-large",
            f"the image of {size(plan.length_bytes)} does not fit the slots of {_count(len(small), 'known node')} "
            f"({_list([name for _, name in small])}): make it smaller by {size(plan.length_bytes - small[0][0])}",
            False,
        )
    ahead = [node for node in meant if (node.release or 0) > plan.release]
    if ahead:
        highest = max(node.release or 0 for node in ahead)
        yield Mistake(
            "nodes-ahead",
            f"{_count(len(ahead), 'known node')} ({_list([n.name for n in ahead])}) run a higher release, up to {highest}, and "
            f"will not take {plan.release}",
            False,
        )
    other = [n for n in meant if n.release == plan.release and n.version and n.version != plan.version]
    if other:
        yield Mistake(
            "number-in-use",
            f"{_count(len(other), 'known node')} ({_list([n.name for n in other])}) run release {plan.release} already, as "
            f"version {line(other[0].version)}: a number is never used twice",
            False,
        )


def _image(bundle: Bundle, known: Known) -> Iterator[Mistake]:
    plan = bundle.plan
    if (
        not plan.image_kind and not plan.anyway
    ):  # judged once, at the build; everybody sees the reason that was given then
        yield Mistake("no-file-system", f"{plan.image} looks like no file system that is known here", False)
    if known.image_bytes_mtime_ns not in (None, (plan.length_bytes, plan.image_mtime_ns)):
        yield Mistake(
            "image-changed",
            f"{plan.image} was written after the release was built: build again, or see whether it is still the same "
            "with fruit release verify --image",
            False,
        )


def _name(public_key: bytes, *roots_and_bundle: TrustRoot | Bundle) -> str:
    for known in roots_and_bundle:
        root = known.root if isinstance(known, Bundle) else known
        if public_key in root.names:
            return root.names[public_key]
    return f"key {public_key.hex()[:16]}"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(line(name) for name in names[:_NAMED_MAX])
    more = len(names) - _NAMED_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
