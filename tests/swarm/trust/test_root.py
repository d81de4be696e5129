"""The trust root: if it failed, fewer keys than agreed, or strangers, could speak for the swarm."""

from __future__ import annotations

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.news.record import Record, Signature
from swarm.root_file import load_root, root_record
from swarm.signing import signed
from swarm.trust.root import Role, RoleKeys, TrustRoot, read_root
from tests.swarm.trust.ceremony import RELEASERS, ROOTS, STRANGER, root_bytes, trust_root


def test_a_root_signed_by_its_threshold_is_read_back():
    """If this failed, no node could start trusting anybody."""
    assert load_root(root_bytes(*ROOTS)) == trust_root()


@pytest.mark.parametrize("keys", [(), ROOTS[:1], (ROOTS[0], STRANGER), RELEASERS])
def test_a_root_signed_by_fewer_is_refused(keys):
    """If this failed, one stolen root key, or any other key, could rewrite who is trusted."""
    with pytest.raises(RefusedError, match="needs 2 of 2"):
        load_root(root_bytes(*keys))
    assert read_root(Record.decode(root_bytes(*keys))) == trust_root()


def test_one_key_counts_once_however_often_it_signs():
    """If this failed, one stolen key could reach any threshold by signing twice."""
    root, message = trust_root(), b"message"
    cora = RELEASERS[0]
    one = Signature(cora.public.raw, cora.sign(message))
    assert root.authorises(Role.RELEASE, message, [one, one, one]) == 1
    assert root.authorises(Role.ROOT, message, [one]) == 0
    assert root.authorises(Role.RELEASE, b"other", [one]) == 0
    assert root.authorises(Role.OPERATOR, message, [one]) == 0


def test_a_broken_signature_beside_a_good_one_of_the_same_key_harms_nothing():
    """If this failed, a peer could make a good record worthless by adding rubbish to it."""
    cora = RELEASERS[0]
    good, bad = Signature(cora.public.raw, cora.sign(b"m")), Signature(cora.public.raw, bytes(64))
    assert trust_root().authorises(Role.RELEASE, b"m", [bad, good]) == 1


def test_a_role_that_nobody_holds_authorises_nothing():
    """If this failed, an empty role with threshold 0 would accept unsigned records."""
    with pytest.raises(RefusedError, match="nobody holds the operator role"):
        trust_root().check_threshold(Role.OPERATOR, Record("hold", b"", 1, b""))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 0}, "version 0"),
        ({"swarm": ""}, "swarm name"),
        ({"swarm": "a\nb"}, "swarm name"),
        ({"swarm": "ü" * 33}, "swarm name"),
        ({"names": {}}, "must name each key"),
        ({"roles": {Role.RELEASE: trust_root().roles[Role.RELEASE]}}, "nobody the root role"),
        (
            {
                "roles": trust_root().roles
                | {Role.RELEASE: RoleKeys(0, trust_root().roles[Role.RELEASE].keys)}
            },
            "threshold 0",
        ),
        (
            {
                "roles": trust_root().roles
                | {Role.RELEASE: RoleKeys(4, trust_root().roles[Role.RELEASE].keys)}
            },
            "threshold 4",
        ),
        ({"roles": trust_root().roles | {Role.OPERATOR: RoleKeys(1, frozenset())}}, "threshold 1"),
    ],
)
def test_a_root_that_cannot_be_meant_is_refused(changes, said):
    """If this failed, a slip in a ceremony would lock a swarm out or open it to everybody."""
    with pytest.raises(RefusedError, match=said):
        attrs.evolve(trust_root(), **changes)


def test_a_root_under_another_name_or_version_than_its_record_is_refused():
    """If this failed, an old root could be passed off as a newer one."""
    record = root_record(trust_root())
    for changed in ({"sequence": 2}, {"key": b"other"}, {"kind": "manifest"}):
        with pytest.raises(RefusedError):
            load_root(signed(attrs.evolve(record, **changed), *ROOTS).encode())


def test_a_full_root_with_all_its_signatures_fits_a_record():
    """If this failed, a swarm with many maintainers would find out at its first rotation."""
    keys = [
        attrs.evolve(STRANGER, seed=bytes([i]) * 32, name=f"maintainer-{i:02}-of-the-testbed")
        for i in range(24)
    ]
    raws = [k.public.raw for k in keys]
    roles = {Role.ROOT: RoleKeys(9, frozenset(raws)), Role.RELEASE: RoleKeys(9, frozenset(raws))}
    root = TrustRoot("fruits", 1, {k.public.raw: k.name for k in keys}, roles)
    assert load_root(signed(root_record(root), *keys[:16]).encode()) == root


def fields() -> list[object]:
    return msgpack.unpackb(trust_root().encode())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: f.__setitem__(0, 2),
        lambda f: f.append(1),
        lambda f: f[3].reverse(),
        lambda f: f[3].append(f[3][0]),
        lambda f: f[3][0].append(1),
        lambda f: f[4].pop(),
        lambda f: f[4][0][1].append(99),
        lambda f: f[4][0][1].append(-1),
        lambda f: f[4][0][1].append(f[4][0][1][0]),
        lambda f: f[4].__setitem__(0, 5),
        lambda f: f[3][0].__setitem__(0, b"short"),
        lambda f: f[3][0].__setitem__(1, "../name"),
    ],
)
def test_every_other_shape_is_refused(spoil):
    """If this failed, two programs could read two different roots in the same bytes."""
    changed = fields()
    spoil(changed)
    with pytest.raises(RefusedError):
        TrustRoot.decode(msgpack.packb(changed))


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=500, deadline=None)
def test_fuzz_only_refusals_escape(data):
    """If this failed, a damaged trust root would stop the daemon with a traceback instead of a reason."""
    raw = bytearray(root_bytes(*ROOTS) if data.draw(st.booleans()) else trust_root().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for decode in (load_root, TrustRoot.decode):
        try:
            decode(bytes(raw))
        except RefusedError:
            continue
