"""Saying that a channel's manifest is still the newest, so that a node which is kept in the past can know it (design D2). Pure.

What is said is one small record. Where several must say it together, it travels as a file that each signs, or signs a copy of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from fruitd.amounts import duration, moment
from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.cosigning import merge_as, missing_as, sign_as
from fruitd.maintainer.mistakes import as_refusals
from fruitd.maintainer.root_description import SCHEMA, named_all
from swarm.news.record import Record
from swarm.trust.freshness import FRESH_KIND, VALID_FOR_S_MAX, Freshness
from swarm.trust.manifest import Manifest
from swarm.trust.root import Role, TrustRoot
from swarm.trust.signer import Signer

VALID_FOR = "7d"
"""Longer than a weekend without anybody to mend the machine that says it; a freeze is noticed after that."""
EARLIEST_S = 1_750_000_000
"""Mid-2025. A machine that wakes up without a clock shows 1970, or when its software was built."""
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


@frozen
class Held:
    """What a node holds of one channel; it has judged all of it."""

    manifests: tuple[Record, ...]
    """Two where they contradict each other."""
    fresh: tuple[Record, ...]
    """The last that was said."""


def parse_valid_for(words: str) -> int:
    """Seconds; raises `UsageError`."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", words)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= VALID_FOR_S_MAX:
        raise UsageError(f"--valid-for {words} is not a time such as 36h, 7d or 2w, at most a year")
    return seconds


def said_fresh(root: TrustRoot, channel: str, held: Held, *, now_s: float, valid_for_s: int) -> Record:
    """The unsigned word that the manifest which a node holds is the newest now.

    Raises `RefusedError` where that cannot be said: nothing is held, it is disputed, a newer one was told of, or the clock is
    behind what somebody has signed.
    """
    record = _undisputed(channel, held.manifests)
    with as_refusals("the node's manifest"):
        manifest = Manifest.decode(record.body)
    _check_clock(now_s, manifest.issued_at_s, "the manifest was made")
    for last in held.fresh:
        with as_refusals("what was said last"):
            before = Freshness.decode(last.body)
        _check_not_behind(channel, record, before)
        _check_clock(now_s, before.at_s, "it was last said to be current")
    if manifest.swarm != root.swarm:
        raise RefusedError(f"the node is of swarm {manifest.swarm}, the trust root of {root.swarm}")
    fresh = Freshness(root.swarm, channel, record.sequence, record.content_hash, int(now_s), valid_for_s)
    return Record(FRESH_KIND, fresh.key, fresh.at_s, fresh.encode())


def check_same(fresh: Record, held: Held) -> None:
    """Raise `RefusedError` unless what is said of a channel is what a node holds: whoever signs second looks with other eyes."""
    said = read_fresh(fresh)
    record = _undisputed(said.channel, held.manifests)
    if (record.sequence, record.content_hash) != (said.manifest_sequence, said.manifest_hash):
        raise RefusedError(
            f"it says that manifest {said.manifest_sequence} of channel {said.channel} is the newest; this node holds "
            f"manifest {record.sequence}"
            + (" with other content" if record.sequence == said.manifest_sequence else "")
        )


def sign_fresh(record: Record, signers: Iterable[Signer], root: TrustRoot) -> Record:
    """With these keys' signatures; raises `RefusedError` where a key does not hold the freshness role."""
    check_fresh_role(root)
    return sign_as(Role.FRESHNESS, record, signers, root)


def merge_fresh(records: Sequence[Record], root: TrustRoot) -> Record:
    """One record with everybody's signatures; order and repetition change nothing.

    Raises `RefusedError` where they say different things, or a signature is not by a freshness key or does not verify.
    """
    for record in records:
        read_fresh(record)
    return merge_as(Role.FRESHNESS, records, root)


def missing_signatures(record: Record, root: TrustRoot) -> int:
    """How many more freshness keys have to sign."""
    return missing_as(Role.FRESHNESS, record, root)


def check_fresh_role(root: TrustRoot) -> None:
    """Raise `RefusedError` where nobody holds the role."""
    if not root.roles[Role.FRESHNESS].keys:
        raise RefusedError(
            f"nobody may say in swarm {root.swarm} that a release is still current: give the freshness role to a key "
            "(fruit trust rotate --add freshness=NAME.pub)"
        )


def read_fresh(record: Record) -> Freshness:
    """What a record says, whoever signed it; raises `RefusedError`."""
    with as_refusals():
        fresh = Freshness.decode(record.body)
    if (record.kind, record.key, record.sequence) != (FRESH_KIND, fresh.key, fresh.at_s):
        raise RefusedError("this record does not say that a manifest is current, or says it of another one")
    return fresh


def describe_fresh(record: Record, root: TrustRoot) -> dict[str, Any]:
    """For `fruit freshness show --json` (docs/releasing.md)."""
    fresh = read_fresh(record)
    signers = root.valid_signers(Role.FRESHNESS, record.signed_bytes, record.signatures)
    missing = missing_signatures(record, root)
    return {
        "schema": SCHEMA,
        "swarm": fresh.swarm,
        "channel": fresh.channel,
        "manifest_sequence": fresh.manifest_sequence,
        "manifest_hash": fresh.manifest_hash.hex(),
        "at_s": fresh.at_s,
        "valid_for_s": fresh.valid_for_s,
        "signed_by": named_all(root, signers),
        "threshold": root.roles[Role.FRESHNESS].threshold,
        "missing": missing,
        "complete": missing == 0 and root.roles[Role.FRESHNESS].threshold > 0 and fresh.swarm == root.swarm,
    }


def fresh_words(fresh: Freshness) -> str:
    """In one line."""
    return (
        f"manifest {fresh.manifest_sequence} of channel {fresh.channel} is current as of {moment(fresh.at_s)}, for "
        f"{duration(fresh.valid_for_s)}"
    )


def _undisputed(channel: str, manifests: Sequence[Record]) -> Record:
    if not manifests:
        raise RefusedError(f"the node holds no manifest of channel {channel}")
    if len(manifests) > 1:
        raise RefusedError(
            f"the node holds two manifests {manifests[0].sequence} of channel {channel} that contradict each other: publish "
            "one with a higher sequence first"
        )
    return manifests[0]


def _check_not_behind(channel: str, record: Record, before: Freshness) -> None:
    if before.manifest_sequence > record.sequence:
        raise RefusedError(
            f"the node holds manifest {record.sequence} of channel {channel}, and manifest {before.manifest_sequence} was "
            f"said to be current at {moment(before.at_s)}: the node is behind"
        )
    if before.manifest_sequence == record.sequence and before.manifest_hash != record.content_hash:
        raise RefusedError(
            f"another manifest {record.sequence} of channel {channel} than the one the node holds was said to be current at "
            f"{moment(before.at_s)}: somebody has signed two"
        )


def _check_clock(now_s: float, signed_s: int, what: str) -> None:
    if now_s < max(signed_s, EARLIEST_S):
        behind = f", and {what} at {moment(signed_s)}" if now_s < signed_s else ""
        raise RefusedError(f"this machine's clock says {moment(now_s)}{behind}: set the clock")
