"""If one of these failed, a torn write of the boot environment would brick a node, or boot a slot that was given up."""

from __future__ import annotations

import contextlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fruitd.boot.environment import (
    COPY_BYTES,
    ENVIRONMENT_BYTES,
    SEQUENCE_MAX,
    BootEnvironment,
    decode_copy,
    encode_copy,
    read_copies,
)
from fruitd.errors import SlotError

ENVIRONMENTS = st.builds(
    BootEnvironment,
    default=st.sampled_from("ab"),
    armed=st.sampled_from(["a", "b", None]),
    sequence=st.integers(0, SEQUENCE_MAX),
)


@given(ENVIRONMENTS)
def test_what_is_written_is_read(environment: BootEnvironment) -> None:
    """A node would boot another slot than it chose."""
    assert decode_copy(encode_copy(environment)) == environment


@given(ENVIRONMENTS, st.integers(0, COPY_BYTES * 8 - 1))
def test_no_single_bit_can_flip_unseen(environment: BootEnvironment, bit: int) -> None:
    """A decayed bit would make the bad slot the default."""
    data = bytearray(encode_copy(environment))
    data[bit // 8] ^= 1 << bit % 8
    assert decode_copy(bytes(data)) is None


@given(ENVIRONMENTS, st.sampled_from("ab"), st.sampled_from(["a", "b", None]), st.integers(0, COPY_BYTES))
def test_a_write_torn_at_any_byte_leaves_the_old_or_the_new(
    old: BootEnvironment, default: str, armed: str | None, cut: int
) -> None:
    """A power cut while the environment is written would leave a node without a slot to boot."""
    if old.sequence == SEQUENCE_MAX:
        return
    new = old.changed(default, armed)
    torn = encode_copy(new)[:cut] + encode_copy(old)[cut:]
    found = read_copies(encode_copy(old) + torn).environment
    assert found in (old, new)


@given(ENVIRONMENTS, st.binary(min_size=COPY_BYTES, max_size=COPY_BYTES), st.booleans())
def test_one_good_copy_is_enough(environment: BootEnvironment, rubbish: bytes, first: bool) -> None:
    """A worn sector would brick a node."""
    good = encode_copy(environment)
    reading = read_copies(good + rubbish if first else rubbish + good)
    assert (reading.environment, reading.copy, reading.other_bad) == (environment, 0 if first else 1, True)


def test_two_bad_copies_are_an_error_in_words() -> None:
    """A node would make up a default, perhaps the slot it was writing."""
    with pytest.raises(SlotError, match="no good copy"):
        read_copies(bytes(ENVIRONMENT_BYTES))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"fruit-boot 2 1 a - ",
        b"fruit-boot 1 1 c - ",
        b"fruit-boot 1 01 a - ",
        b"fruit-boot 1 -1 a - ",
        b"fruit-boot 1 1 a a b ",
        b"fruit-boot 1 99999999999999999 a - ",
    ],
)
def test_what_was_not_written_by_this_version_is_refused_even_with_a_good_checksum(text: bytes) -> None:
    """Another program's file would be taken for a boot environment."""
    copy = (text + b"%08x\n" % zlib.crc32(text)).ljust(COPY_BYTES, b"\0")
    assert decode_copy(copy) is None


@pytest.mark.fuzz
def test_no_bytes_raise_anything_but_our_own_error() -> None:
    """A damaged environment would crash the chooser, and the machine would not boot at all."""
    rng = random.Random(11)
    base = encode_copy(BootEnvironment("a", "b", 7)) * 2
    for _ in range(20_000):
        data = bytearray(base[: rng.randint(0, len(base))])
        for _ in range(rng.randint(0, 8)):
            if data:
                data[rng.randrange(min(len(data), 60))] = rng.randrange(256)
        with contextlib.suppress(SlotError):
            read_copies(bytes(data))
