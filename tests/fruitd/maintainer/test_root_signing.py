"""Signing apart and merging: if this failed, a ceremony would lose a signature, or count one that is none."""

from __future__ import annotations

import hashlib
import random

import attrs
import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fruitd.errors import RefusedError, UsageError
from fruitd.maintainer.founding import found_swarm
from fruitd.maintainer.root_description import describe_root
from fruitd.maintainer.root_signing import merge_roots, sign_root
from fruitd.maintainer.rotation import Change, rotate
from swarm.news.record import Signature
from swarm.root_file import RootChain
from swarm.signing import with_signatures
from swarm.trust.keys import SecretKey
from tests.fruitd.maintainer.makers import key

ANN, BEN, CARL, CORA, FAY, MALLORY = (key(n) for n in ("ann", "ben", "carl", "cora", "fay", "mallory"))
FOUNDED = found_swarm("orchard", [ANN, BEN, CARL], [CORA.public])
UNSIGNED = rotate(FOUNDED, Change(replace=(("carl", FAY.public),)), expires_at_s=0)
"""Carl hands over to fay: two of ann, ben and carl, and two of ann, ben and fay."""
SIGNERS = [ANN, BEN, CARL, FAY]


def signed_by(data: bytes, *keys: SecretKey) -> bytes:
    return sign_root(data, keys)[0]


@given(st.randoms(use_true_random=False), st.sets(st.sampled_from(range(4))))
@settings(max_examples=100, deadline=None)
def test_any_order_of_signing_and_merging_gives_the_same_bytes(rng: random.Random, who: set[int]):
    """If this failed, people who signed the same thing would hold different files and argue which one counts."""
    keys = [SIGNERS[n] for n in who]
    expected = UNSIGNED
    for one in keys:  # The slow, obvious way: one file, handed from one to the next.
        expected = signed_by(expected, one)
    copies = [UNSIGNED for _ in range(3)]
    for one in rng.sample(keys * 2, len(keys) * 2):
        at = rng.randrange(3)
        copies[at] = signed_by(copies[at], one)
        if rng.random() < 0.3:
            copies[rng.randrange(3)] = merge_roots(rng.sample(copies, rng.randint(1, 3)))
    # Merging over a copy may have lost what only that copy had: everybody hands in what they signed, once more.
    copies += [signed_by(UNSIGNED, one) for one in keys]
    rng.shuffle(copies)
    assert merge_roots(copies) == expected
    assert describe_root(expected)["complete"] == _enough(keys)


def _enough(keys: list[SecretKey]) -> bool:
    names = {k.name for k in keys}
    return len(names & {"ann", "ben", "carl"}) >= 2 and len(names & {"ann", "ben", "fay"}) >= 2


def test_signing_twice_changes_nothing_and_asks_nobody():
    """If this failed, a token whose signatures differ each time would make two people's files differ."""
    once = signed_by(UNSIGNED, ANN)

    class Asked:
        public = ANN.public

        def sign(self, message: bytes) -> bytes:
            pytest.fail("was asked to sign again")

    assert sign_root(once, [Asked()]) == (once, [])


@pytest.mark.parametrize("stranger", [MALLORY, CORA])
def test_who_holds_no_root_role_does_not_sign(stranger):
    """If this failed, a maintainer would believe to have signed and the ceremony would wait for nobody."""
    with pytest.raises(
        RefusedError, match=r"neither before nor after this change; these do: ann, ben, carl, fay"
    ):
        sign_root(UNSIGNED, [stranger])


def test_what_is_no_signature_is_left_out():
    """If this failed, one person could fill the file with rubbish until nobody else's signature fits."""
    chain = RootChain.decode(UNSIGNED)
    rubbish = [Signature(bytes([n]) * 32, bytes(64)) for n in range(10)]
    rubbish += [Signature(MALLORY.public.raw, MALLORY.sign(chain.newest_record.signed_bytes))]
    rubbish += [Signature(ANN.public.raw, bytes(64))]
    spoilt = RootChain.of([*chain.records[:-1], with_signatures(chain.newest_record, rubbish)]).encode()
    assert merge_roots([spoilt, signed_by(UNSIGNED, BEN)]) == signed_by(UNSIGNED, BEN)
    assert signed_by(spoilt, ANN) == signed_by(UNSIGNED, ANN)
    assert describe_root(spoilt)["signed_by"] == []


def test_a_broken_signature_does_not_displace_a_good_one():
    """If this failed, a damaged copy merged in last would undo a signature."""
    good = signed_by(UNSIGNED, ANN)
    record = RootChain.decode(good).newest_record
    for broken in (bytes(64), b"\xff" * 64):
        half = attrs.evolve(record, signatures=(Signature(ANN.public.raw, broken),))
        damaged = RootChain.of([RootChain.decode(FOUNDED).newest_record, half]).encode()
        assert merge_roots([good, damaged]) == merge_roots([damaged, good]) == good


def another_signature(one: SecretKey, message: bytes) -> bytes:
    """A valid signature that is not the one Ed25519 makes by the book: with a nonce of its own, as some tokens do it."""
    a = bytearray(hashlib.sha512(one.seed).digest()[:32])
    a[0] &= 248
    a[31] = a[31] & 63 | 64
    nonce = nacl.bindings.crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"nonce" + message).digest())
    point = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    hashed = hashlib.sha512(point + one.public.raw + message).digest()
    scalar = nacl.bindings.crypto_core_ed25519_scalar_reduce(bytes(a) + bytes(32))
    product = nacl.bindings.crypto_core_ed25519_scalar_mul(
        nacl.bindings.crypto_core_ed25519_scalar_reduce(hashed), scalar
    )
    return point + nacl.bindings.crypto_core_ed25519_scalar_add(nonce, product)


def test_two_different_valid_signatures_of_one_key_merge_to_the_same_one():
    """If this failed, a token that signs anew each time would leave two people with different files."""
    chain = RootChain.decode(UNSIGNED)
    record = chain.newest_record
    usual, other = ANN.sign(record.signed_bytes), another_signature(ANN, record.signed_bytes)
    assert usual != other
    files = [
        RootChain.of([*chain.records[:-1], with_signatures(record, [Signature(ANN.public.raw, s)])]).encode()
        for s in (usual, other)
    ]
    assert [len(describe_root(file)["signed_by"]) for file in files] == [1, 1]
    assert merge_roots(files) == merge_roots(files[::-1])


def test_only_one_and_the_same_change_is_merged():
    """If this failed, signatures under one change would be counted for another."""
    other = rotate(FOUNDED, Change(replace=(("ann", FAY.public),)), expires_at_s=0)
    pears = found_swarm("pears", [ANN, BEN, CARL], [CORA.public])
    for files, said in [
        ([UNSIGNED, other], "two different roots 2 of swarm orchard"),
        ([UNSIGNED, FOUNDED], "ends with root 2, another with 1"),
        ([FOUNDED, pears], "one file is of swarm"),
        ([FOUNDED, found_swarm("orchard", [ANN, BEN], [CORA.public])], "two different roots 1"),
        ([UNSIGNED, UNSIGNED[:-1]], "damaged"),
    ]:
        for order in (files, files[::-1]):
            with pytest.raises(RefusedError, match=said):
                merge_roots(order)
    with pytest.raises(UsageError):
        merge_roots([])


def test_files_that_do_not_begin_with_the_same_root_are_not_merged():
    """If this failed, whoever adds a root of their own before the first one would be whom the merged file begins with."""
    second = merge_roots([signed_by(UNSIGNED, ANN), signed_by(UNSIGNED, BEN)])
    third = rotate(second, Change(expires_at_s=2_000_000_000), expires_at_s=0)
    late = RootChain.of(RootChain.decode(third).records[1:]).encode()
    for order in (
        [signed_by(late, ANN), signed_by(third, FAY)],
        [signed_by(third, FAY), signed_by(late, ANN)],
    ):
        with pytest.raises(RefusedError, match="made from the same one"):
            merge_roots(order)
