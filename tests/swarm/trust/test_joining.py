"""Token and certificate files: if these failed, a card would let nobody in, or more than it should."""

from __future__ import annotations

import json

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import KeyFileError, Reason, RefusedError
from swarm.joining import OwnCertificate, TokenFile, join
from swarm.trust.tokens import check_certificate
from tests.swarm.trust.ceremony import STRANGER, key
from tests.swarm.trust.fellowship import NOW_S, OPERATORS, closed_root, token_file

NODE = key("pi-17")
FILE = token_file("batch", site="attic", expires_at_s=NOW_S + 100)
OWN = join(FILE, NODE, closed_root(), NOW_S)


def test_files_are_read_back():
    """If this failed, a node would join and not know it after a restart."""
    assert TokenFile.decode(FILE.encode()).encode() == FILE.encode()
    assert OwnCertificate.decode(OWN.encode()) == OWN
    assert check_certificate(OWN.member).token_id == FILE.token.token_id
    assert OWN.token.site == "attic"


def test_no_secret_outlives_the_token_and_none_is_shown():
    """If this failed, a stolen node would let others in, or a log would."""
    seed = FILE.key.seed
    assert seed not in OWN.encode()
    assert seed.hex() not in repr(FILE)
    assert repr(seed) not in repr(FILE)
    for wrong in (FILE.encode().replace(b'"terms"', b'"words"'), FILE.encode()[:-4]):
        with pytest.raises(KeyFileError) as refused:
            TokenFile.decode(wrong)
        assert seed.hex()[:8] not in str(refused.value)


def test_a_node_joins_only_by_a_token_that_counts_now():
    """If this failed, a node would believe to be a member, and nobody else would."""
    for file, root, now_s, said in [
        (FILE, closed_root(threshold=2), NOW_S, "has 1 valid signatures"),
        (FILE, attrs.evolve(closed_root(), swarm="nuts"), NOW_S, "swarm"),
        (FILE, closed_root(), NOW_S + 100, "has expired"),
        (token_file("batch", STRANGER), closed_root(), NOW_S, "has 0 valid signatures"),
    ]:
        with pytest.raises(RefusedError, match=said):
            join(file, NODE, root, now_s)
    with pytest.raises(RefusedError) as refused:
        join(FILE, NODE, closed_root(), NOW_S + 100)
    assert refused.value.reason is Reason.EXPIRED


def test_a_later_certificate_wins_even_if_the_clock_went_back():
    """If this failed, a node that moves to another site with a dead clock battery would stay in the old one."""
    assert join(FILE, NODE, closed_root(), 5.0, after=NOW_S).member.sequence == NOW_S + 1


def test_parts_of_different_tokens_do_not_go_together():
    """If this failed, a node would show a certificate and terms that say different things."""
    other = token_file("other", *OPERATORS)
    document = json.loads(FILE.encode())
    for changes in ({"terms": other.terms.encode().hex()}, {"seed": other.key.seed.hex()}):
        with pytest.raises(KeyFileError, match="do not belong to its key"):
            TokenFile.decode(json.dumps(document | changes).encode())
    with pytest.raises(RefusedError, match="another token"):
        OwnCertificate.decode(attrs.evolve(OWN, terms=other.terms).encode())


@pytest.mark.parametrize("field", ["type", "version", "seed", "terms"])
def test_every_wrong_field_of_a_token_file_is_refused(field):
    """If this failed, a damaged card would keep its node from starting."""
    document = json.loads(FILE.encode())
    for wrong in (None, True, 2, "", "zz", "ab", "ab" * 9000, [], {}):
        with pytest.raises(KeyFileError):
            TokenFile.decode(json.dumps(document | {field: wrong}).encode())
    with pytest.raises(KeyFileError):
        TokenFile.decode(json.dumps(document | {"more": 1}).encode())


@pytest.mark.fuzz
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_fuzz_only_our_own_errors_escape(data):
    """If this failed, a damaged card would end the daemon with a traceback at every start."""
    for codec, good in ((TokenFile, FILE.encode()), (OwnCertificate, OWN.encode())):
        raw = bytearray(good)
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        for candidate in (bytes(raw), data.draw(st.binary(max_size=60)), msgpack.packb([1, b"", b""])):
            try:
                codec.decode(candidate)
            except (KeyFileError, RefusedError):
                continue
