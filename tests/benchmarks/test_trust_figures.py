"""What believing a manifest costs: were the figure taken on less than a node does, a slow node would pass."""

from __future__ import annotations

import random

import attrs
import pytest

import swarm.trust.root
from benchmarks.trust import KEYS, THRESHOLD, _case
from swarm.errors import RefusedError
from swarm.news.record import Record, Signature
from swarm.trust.keys import verifies
from swarm.trust.manifest import Manifest
from swarm.trust.root import Role, RoleKeys, TrustRoot
from tests.swarm.trust.ceremony import RELEASERS, STRANGER, manifest_record, trust_root


def test_the_row_is_taken_on_the_whole_way_from_bytes_to_belief(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this failed, the bar would hold because nothing is verified."""
    verified = []
    monkeypatch.setattr(
        swarm.trust.root, "verifies", lambda *given: verified.append(given) or verifies(*given)
    )
    encoded, believe, bare = _case(8, KEYS)
    assert len(Record.decode(encoded).signatures) == KEYS
    manifest = believe()
    assert isinstance(manifest, Manifest)
    assert len(manifest.releases) == 8
    assert len(verified) == THRESHOLD, "a signature beyond the threshold costs nothing"
    bare()


def test_stopping_early_never_changes_the_answer() -> None:
    """If this failed, a manifest would be believed by some nodes only, or with too few signatures."""
    rng = random.Random(5)
    root = trust_root(threshold=2)
    good = manifest_record(*RELEASERS, STRANGER)
    held = root.roles[Role.RELEASE].keys
    for _ in range(300):
        chosen = [rng.choice(good.signatures) for _ in range(rng.randrange(6))]
        signatures = tuple(Signature(s.public_key, bytes(64)) if rng.random() < 0.4 else s for s in chosen)
        fact = attrs.evolve(good, signatures=signatures)
        valid = {s.public_key for s in signatures if s.public_key in held and any(s.signature)}
        for threshold in (1, 2, 3):
            judge = _with_threshold(root, threshold)
            if len(valid) >= threshold:
                judge.check_threshold(Role.RELEASE, fact)
            else:
                with pytest.raises(RefusedError, match=f"has {len(valid)} valid signatures"):
                    judge.check_threshold(Role.RELEASE, fact)


def _with_threshold(root: TrustRoot, threshold: int) -> TrustRoot:
    held = RoleKeys(threshold, root.roles[Role.RELEASE].keys)
    return attrs.evolve(root, roles={**root.roles, Role.RELEASE: held})
