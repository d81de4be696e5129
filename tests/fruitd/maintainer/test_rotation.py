"""The next trust root: if this failed, a slip in a rotation would lock a swarm out of itself, or leave a thief in."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruitd.errors import FruitError, RefusedError, UsageError
from fruitd.maintainer.founding import found_swarm
from fruitd.maintainer.root_description import continued, describe_root
from fruitd.maintainer.root_signing import sign_root
from fruitd.maintainer.rotation import Change, rotate
from swarm.root_file import RootChain, load_root
from swarm.trust.keys import SecretKey
from swarm.trust.root import Role
from tests.fruitd.maintainer.makers import key

ANN, BEN, CARL, CORA, DAN, EVE, FAY = (key(n) for n in ("ann", "ben", "carl", "cora", "dan", "eve", "fay"))
UNTIL_S = 1_900_000_000
LATER_S = 2_000_000_000


def founded(**changes: object) -> bytes:
    """Ann, ben and carl are root, two of them together; cora, dan and eve release, two together; ann is operator too."""
    options: dict[str, object] = {"operator_keys": [ANN.public], "expires_at_s": UNTIL_S}
    roots, releasers = [ANN, BEN, CARL], [CORA.public, DAN.public, EVE.public]
    return found_swarm("orchard", roots, releasers, **(options | changes))  # type: ignore[arg-type]


FOUNDED = founded()


def holders(data: bytes, role: Role) -> list[str]:
    root = RootChain.decode(data).newest
    return sorted(root.names[raw] for raw in root.roles[role].keys)


def test_a_rotation_says_what_was_asked_and_nobody_has_signed_it():
    """If this failed, a ceremony would change something else than its people agreed on."""
    change = Change(
        add=((Role.RELEASE, FAY.public), (Role.FRESHNESS, FAY.public)),
        remove=((Role.RELEASE, "eve"), (Role.ROOT, CARL.public)),
        thresholds={Role.RELEASE: 3},
    )
    data = rotate(FOUNDED, change, expires_at_s=LATER_S)
    chain = RootChain.decode(data)
    assert (chain.newest.version, chain.newest.expires_at_s) == (2, LATER_S)
    assert chain.newest_record.signatures == ()
    assert holders(data, Role.RELEASE) == ["cora", "dan", "fay"]
    assert holders(data, Role.ROOT) == ["ann", "ben"]
    assert holders(data, Role.FRESHNESS) == ["fay"]
    assert [chain.newest.roles[role].threshold for role in Role] == [2, 3, 1, 1]
    assert data.startswith(FOUNDED)


def test_a_new_key_takes_over_every_role_of_the_old_one():
    """If this failed, a stolen key would keep the one role somebody forgot."""
    again = SecretKey(bytes(range(32)), "ann")
    for old in ("ann", ANN.key_id, ANN.public):
        data = rotate(FOUNDED, Change(replace=((old, again.public),)), expires_at_s=0)
        root = RootChain.decode(data).newest
        assert not any(ANN.public.raw in held.keys for held in root.roles.values())
        assert holders(data, Role.ROOT) == ["ann", "ben", "carl"]
        assert holders(data, Role.OPERATOR) == ["ann"]


def test_only_an_expiry_can_be_renewed():
    """If this failed, a swarm could not be kept from expiring without changing its people."""
    data = rotate(FOUNDED, Change(expires_at_s=0), expires_at_s=LATER_S)
    assert RootChain.decode(data).newest == attrs.evolve(load_root(FOUNDED), version=2, expires_at_s=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(), "nothing would change"),
        (Change(expires_at_s=UNTIL_S), "that very day"),
        (Change(thresholds={Role.ROOT: 2}), "nothing would change"),
        (Change(remove=((Role.RELEASE, "dan"),), add=((Role.RELEASE, DAN.public),)), "nothing would change"),
        (Change(remove=((Role.ROOT, "dan"),)), "dan does not hold the root role; these do: ann, ben, carl"),
        (Change(remove=((Role.FRESHNESS, "dan"),)), "these do: nobody"),
        (
            Change(remove=tuple((Role.ROOT, n) for n in ("ann", "ben", "carl"))),
            "nobody would hold the root role",
        ),
        (
            Change(remove=tuple((Role.RELEASE, n) for n in ("cora", "dan", "eve"))),
            "nobody would hold the release",
        ),
        (Change(remove=((Role.ROOT, "ann"), (Role.ROOT, "ben"))), "needs 2 keys, and 1 would be left"),
        (Change(remove=((Role.ROOT, "ann"), (Role.ROOT, "ann"))), "ann does not hold"),
        (Change(add=((Role.ROOT, ANN.public),)), "ann .* holds the root role already"),
        (Change(add=((Role.ROOT, attrs.evolve(FAY.public, name="ann")),)), "both named ann"),
        (Change(thresholds={Role.RELEASE: 4}), "threshold 4 of role release is not from 1 to 3"),
        (Change(thresholds={Role.RELEASE: 0}), "threshold 0 of role release is not from 1 to 3"),
        (Change(thresholds={Role.FRESHNESS: 1}), "nobody would hold the freshness role"),
        (Change(replace=(("zed", FAY.public),)), "zed does not hold the role"),
        (Change(replace=(("ann", ANN.public),)), "replaced by itself"),
        (Change(replace=(("ann", BEN.public),)), "ben .* holds the root role already"),
    ],
)
def test_nonsense_is_refused_in_words(change, said):
    """If this failed, the mistake would be found once it is signed, spread, and too late."""
    with pytest.raises(UsageError, match=said):
        rotate(FOUNDED, change, expires_at_s=LATER_S)


def test_the_last_key_of_a_role_that_may_be_empty_can_go():
    """If this failed, a stolen operator key could not be taken out of service before there is a new one."""
    data = rotate(FOUNDED, Change(remove=((Role.OPERATOR, "ann"),)), expires_at_s=0)
    assert holders(data, Role.OPERATOR) == []
    assert RootChain.decode(data).newest.roles[Role.OPERATOR].threshold == 0


def test_a_root_that_does_not_count_has_no_successor():
    """If this failed, people would sign a change that no node can ever follow."""
    half = rotate(FOUNDED, Change(expires_at_s=0), expires_at_s=0)
    with pytest.raises(RefusedError, match="0 valid signatures"):
        rotate(half, Change(), expires_at_s=0)
    whole, _ = sign_root(half, [ANN, CARL])
    assert RootChain.decode(rotate(whole, Change(expires_at_s=LATER_S), expires_at_s=0)).newest.version == 3


def test_more_signers_than_a_record_carries_are_refused_before_anybody_signs():
    """If this failed, a large swarm would find out at the last signature that the root cannot carry it."""
    many = [key(f"maintainer-{n:02}-of-the-testbed") for n in range(17)]
    with pytest.raises(RefusedError, match="17 root keys could sign"):
        found_swarm("orchard", [k.public for k in many], [CORA.public])
    half = found_swarm("orchard", many[:9], [CORA.public])
    replaced = tuple((old.name, new.public) for old, new in zip(many[:8], many[9:], strict=True))
    with pytest.raises(RefusedError, match=r"17 root keys could sign .* change fewer at once"):
        rotate(half, Change(replace=replaced), expires_at_s=0)
    with pytest.raises(UsageError, match="room for 24"):
        found_swarm("orchard", many[:1], [key(f"release-{n:02}").public for n in range(24)])


def test_a_founding_of_public_keys_waits_for_its_signatures():
    """If this failed, root keys would have to be brought to one machine to found a swarm."""
    data = found_swarm("orchard", [ANN.public, BEN, CARL.public], [CORA.public])
    described = describe_root(data)
    assert (described["complete"], [k["name"] for k in described["signed_by"]]) == (False, ["ben"])
    assert described["rounds"][0]["missing"] == 1
    assert [k["name"] for k in described["rounds"][0]["not_signed_by"]] == ["ann", "carl"]
    assert load_root(sign_root(data, [ANN])[0]).version == 1


def test_the_description_tells_what_changes_and_who_is_missing_on_both_sides():
    """If this failed, somebody would sign a change that they were not shown."""
    data = rotate(FOUNDED, Change(replace=(("carl", FAY.public),)), expires_at_s=LATER_S)
    described = describe_root(sign_root(data, [FAY, BEN])[0], now_s=UNTIL_S)
    changes = described["changes"]
    assert changes["since_version"] == 1
    assert changes["expires_at_s"] == [UNTIL_S, LATER_S]
    assert set(changes["roles"]) == {"root"}
    assert [k["name"] for k in changes["roles"]["root"]["added"]] == ["fay"]
    assert [k["name"] for k in changes["roles"]["root"]["removed"]] == ["carl"]
    rounds = described["rounds"]
    assert [(r["version"], r["missing"]) for r in rounds] == [(1, 1), (2, 0)]
    assert [k["name"] for k in rounds[0]["signed_by"]] == ["ben"]
    assert [k["name"] for k in rounds[1]["signed_by"]] == ["ben", "fay"]
    assert (described["complete"], described["expired"]) == (False, False)
    assert describe_root(data, now_s=LATER_S)["expired"] is True
    assert describe_root(FOUNDED)["changes"] is None


def test_changes_are_told_against_what_its_reader_trusts():
    """If this failed, somebody could be shown a small last step of a large change."""
    second, _ = sign_root(
        rotate(FOUNDED, Change(replace=(("ann", FAY.public),)), expires_at_s=0), [BEN, CARL]
    )
    third = rotate(second, Change(expires_at_s=LATER_S), expires_at_s=0)
    assert describe_root(third)["changes"]["roles"] == {}
    assert set(describe_root(third, previous=FOUNDED)["changes"]["roles"]) == {"root", "operator"}


def test_a_file_that_does_not_continue_what_its_reader_trusts_is_refused():
    """If this failed, a maintainer could be made to sign for a swarm that only looks like theirs."""
    chain = RootChain.decode(rotate(FOUNDED, Change(expires_at_s=0), expires_at_s=0))
    assert continued(chain, FOUNDED) == RootChain.decode(FOUNDED)
    with pytest.raises(RefusedError, match="root 1, which you trust, is not in it"):
        continued(chain, founded(expires_at_s=7))
    with pytest.raises(RefusedError, match="'pears'"):
        continued(chain, found_swarm("pears", [ANN], [CORA.public]))
    with pytest.raises(RefusedError, match="previous trust root"):
        continued(chain, found_swarm("orchard", [ANN.public], [CORA.public]))


KEYS = [ANN, BEN, CARL, CORA, DAN, EVE, FAY]
roles, keys = st.sampled_from(list(Role)), st.sampled_from(KEYS)
some_changes = st.builds(
    Change,
    add=st.lists(st.tuples(roles, keys.map(lambda k: k.public)), max_size=3).map(tuple),
    remove=st.lists(st.tuples(roles, keys.map(lambda k: k.name)), max_size=3).map(tuple),
    replace=st.lists(st.tuples(keys.map(lambda k: k.name), keys.map(lambda k: k.public)), max_size=2).map(
        tuple
    ),
    thresholds=st.dictionaries(roles, st.integers(0, 5), max_size=2),
    expires_at_s=st.none() | st.just(0),
)


@given(some_changes)
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_is_refused_in_words_or_can_be_signed_and_followed(change):
    """If this failed, some combination of options would make a root that nobody can ever sign or leave."""
    try:
        data = rotate(FOUNDED, change, expires_at_s=LATER_S)
    except FruitError:
        return
    before, after = load_root(FOUNDED), RootChain.decode(data).newest
    signers = [k for k in KEYS if k.public.raw in before.roles[Role.ROOT].keys | after.roles[Role.ROOT].keys]
    signed, _ = sign_root(data, signers)
    assert load_root(signed) == after
    assert after.version == 2
    assert after.roles[Role.ROOT].keys
    assert after.roles[Role.RELEASE].keys
    for role in Role:
        asked = {k.raw for r, k in change.add if r is role}
        assert asked <= after.roles[role].keys
