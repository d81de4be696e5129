"""The trust root: if it failed, fewer keys than agreed, or strangers, could speak for the swarm."""

from __future__ import annotations

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import NotYetError, RefusedError
from swarm.news.record import Record, Signature
from swarm.root_file import load_root, root_record
from swarm.signing import signed
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role, RoleKeys, TrustRoot, check_successor, read_root
from swarm.trust.times import TIME_S_MAX
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
        ({"swarm": "ü" * 30}, "swarm name"),
        ({"expires_at_s": -1}, "expiry -1"),
        ({"expires_at_s": 2**53}, "expiry"),
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
    """If this failed, a swarm with a long name and many maintainers would find out at its first rotation."""
    keys = [
        attrs.evolve(STRANGER, seed=bytes([i]) * 32, name=f"maintainer-{i:02}-of-the-testbed")
        for i in range(24)
    ]
    raws = [k.public.raw for k in keys]
    roles = {Role.ROOT: RoleKeys(9, frozenset(raws)), Role.RELEASE: RoleKeys(9, frozenset(raws))}
    root = TrustRoot("s" * 59, 2**31 - 1, {k.public.raw: k.name for k in keys}, roles, TIME_S_MAX)
    assert load_root(signed(root_record(root), *keys[:16]).encode()) == root


def test_a_root_expires_at_its_second_and_one_without_expiry_never():
    """If this failed, a swarm would stop updating too early, or a lost root would count for ever."""
    assert not attrs.evolve(trust_root(), expires_at_s=100).expired(99.9)
    assert attrs.evolve(trust_root(), expires_at_s=100).expired(100.0)
    assert not trust_root().expired(float(2**52))


def successor(*keys: SecretKey, trusted: TrustRoot | None = None, **changes: object) -> Record:
    """The root after `trusted`, in which cora holds the root role alone; signed by these keys."""
    before = trusted or trust_root()
    cora = RELEASERS[0].public.raw
    roles = before.roles | {Role.ROOT: RoleKeys(1, frozenset({cora}))}
    named = {k.public.raw: k.name for k in RELEASERS}
    after = attrs.evolve(before, version=before.version + 1, names=named, roles=roles, **changes)
    return signed(root_record(after), *keys)


def test_a_root_follows_when_those_before_and_those_after_agree():
    """If this failed, a swarm could never replace a lost or stolen key."""
    root = check_successor(trust_root(), successor(*ROOTS, RELEASERS[0]))
    assert (root.version, root.roles[Role.ROOT].threshold) == (2, 1)


def test_ten_roots_are_walked_and_their_expiry_on_the_way_is_not_looked_at():
    """If this failed, a node that slept for years could not find out who is trusted now."""
    root, cora = trust_root(), RELEASERS[0]
    for _ in range(10):
        root = check_successor(root, successor(*ROOTS, cora, trusted=root, expires_at_s=1))
    assert root.version == 11


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (successor(*ROOTS), "has 0 valid .* needs 1 of 1"),
        (successor(RELEASERS[0]), "has 0 valid .* needs 2 of 2"),
        (successor(ROOTS[0], RELEASERS[0]), "has 1 valid .* needs 2 of 2"),
        (successor(ROOTS[0], STRANGER, RELEASERS[0]), "has 1 valid .* needs 2 of 2"),
        (successor(*ROOTS, RELEASERS[0], swarm="nuts"), "of swarm 'nuts'"),
        (
            successor(*ROOTS, RELEASERS[0], trusted=attrs.evolve(trust_root(), version=2)),
            "3 waits for 2",
        ),
        (signed(root_record(trust_root()), *ROOTS), "1 does not follow 1"),
        (attrs.evolve(successor(*ROOTS, RELEASERS[0]), kind="manifest"), "of kind 'manifest'"),
    ],
)
def test_nothing_else_follows(record, said):
    """If this failed, half of the old keys, or the new ones alone, could take a swarm over; or an old root come back."""
    with pytest.raises(RefusedError, match=said):
        check_successor(trust_root(), record)


def test_a_root_that_came_too_early_can_come_again():
    """If this failed, a node that heard of root 3 before root 2 would refuse root 3 for ever."""
    later = successor(*ROOTS, RELEASERS[0], trusted=attrs.evolve(trust_root(), version=2))
    with pytest.raises(NotYetError, match="3 waits for 2"):
        check_successor(trust_root(), later)


def test_each_version_is_a_record_of_its_own():
    """If this failed, a store would keep the newest root only, and a node that missed one could never catch up."""
    keys = {attrs.evolve(trust_root(), version=v).key for v in (1, 2, 256, 2**31 - 1)}
    assert len(keys) == 4
    assert trust_root().key == b"fruits\0\0\0\0\1"


def fields() -> list[object]:
    return msgpack.unpackb(trust_root().encode())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: f.__setitem__(0, 1),
        lambda f: f.append(1),
        lambda f: f.__setitem__(2, True),
        lambda f: f.__setitem__(2, 1.0),
        lambda f: f.__setitem__(3, False),
        lambda f: f.__setitem__(3, -1),
        lambda f: f.__setitem__(3, 2**53),
        lambda f: f[4].reverse(),
        lambda f: f[4].append(f[4][0]),
        lambda f: f[4][0].append(1),
        lambda f: f[5].pop(),
        lambda f: f[5][0][1].append(99),
        lambda f: f[5][0][1].append(-1),
        lambda f: f[5][0][1].append(f[5][0][1][0]),
        lambda f: f[5].__setitem__(0, 5),
        lambda f: f[5][2].__setitem__(0, False),
        lambda f: f[4][0].__setitem__(0, b"short"),
        lambda f: f[4][0].__setitem__(1, "../name"),
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
