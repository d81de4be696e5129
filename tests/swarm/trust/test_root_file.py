"""The trust root file: if it failed, a ceremony could not be judged, or a card would start out trusting the wrong people."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import RefusedError
from swarm.news.record import Record
from swarm.root_file import RootChain, load_chain, load_root, root_record
from swarm.signing import signed
from swarm.trust.root import Role, RoleKeys, TrustRoot
from tests.swarm.trust.ceremony import RELEASERS, ROOTS, STRANGER, root_bytes, trust_root

CORA = RELEASERS[0]


def chain_of(length: int) -> list[Record]:
    """Roots that follow one another; from the second on, cora signs too and alone holds the root role."""
    root = trust_root()
    records = [signed(root_record(root), *ROOTS)]
    while len(records) < length:
        roles = root.roles | {Role.ROOT: RoleKeys(1, frozenset({CORA.public.raw}))}
        names = {k.public.raw: k.name for k in RELEASERS}
        root = attrs.evolve(root, version=root.version + 1, names=names, roles=roles)
        records.append(
            signed(root_record(root), *ROOTS, CORA) if len(records) == 1 else signed(root_record(root), CORA)
        )
    return records


def test_a_file_of_one_root_is_that_record():
    """If this failed, a new swarm's file could not be read by what expects one record."""
    assert RootChain.decode(root_bytes(*ROOTS)).encode() == root_bytes(*ROOTS)
    assert load_root(root_bytes(*ROOTS)) == trust_root()


def test_a_chain_is_read_to_its_end():
    """If this failed, a card made with a file of today would trust the people of long ago."""
    data = RootChain.of(chain_of(5)).encode()
    chain = load_chain(data)
    assert [root.version for root in chain.roots] == [1, 2, 3, 4, 5]
    assert load_root(data) == chain.newest
    assert chain.before == chain.roots[3]


def test_the_newest_root_may_lack_signatures_and_then_does_not_count():
    """If this failed, nobody could hand a file round for signing, or a half-signed root would be believed."""
    first, second = chain_of(2)
    for keys in [(), (CORA,), ROOTS, (ROOTS[0], CORA), (STRANGER, CORA)]:
        half = RootChain.of([first, signed(root_record(TrustRoot.decode(second.body)), *keys)])
        assert RootChain.decode(half.encode()) == half
        with pytest.raises(RefusedError, match="it needs"):
            load_root(half.encode())


def test_an_older_root_that_lacks_signatures_breaks_the_chain():
    """If this failed, anybody could put a root of their own between, and the next one would follow from it."""
    first, second, third = chain_of(3)
    for broken in (
        [attrs.evolve(first, signatures=()), second, third],
        [first, attrs.evolve(second, signatures=second.signatures[:1]), third],
        [first, third],
        [second, first],
        [first, first],
        [first, second, attrs.evolve(third, kind="manifest")],
        [],
    ):
        with pytest.raises(RefusedError):
            RootChain.decode(b"".join(record.encode() for record in broken))


def test_roots_of_two_swarms_make_no_chain():
    """If this failed, the people of one swarm could be handed another."""
    other = root_record(attrs.evolve(trust_root(), swarm="nuts", version=2))
    with pytest.raises(RefusedError, match="'nuts'"):
        RootChain.of([chain_of(1)[0], signed(other, *ROOTS)])


def test_a_file_without_end_is_not_read():
    """If this failed, a file of millions of roots would eat the memory of whoever looks at it."""
    with pytest.raises(RefusedError, match="more than 1024 roots"):
        RootChain.decode(Record("root", b"", 1, b"").encode() * 1025)
    with pytest.raises(RefusedError, match="larger than"):
        RootChain.decode(bytes(5 * 1024 * 1024))


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_fuzz_only_refusals_escape(data):
    """If this failed, a damaged file would stop the daemon with a traceback instead of a reason."""
    raw = bytearray(RootChain.of(chain_of(3)).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for candidate in (cut, data.draw(st.binary(max_size=200))):
        try:
            assert RootChain.decode(candidate).encode() == candidate
        except RefusedError:
            continue
