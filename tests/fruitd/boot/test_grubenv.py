"""If one of these failed, GRUB and the node would read different things from one block. `grub-editenv` is the judge."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fruitd.boot.grubenv import (
    BLOCK_BYTES,
    SIGNATURE,
    GrubState,
    changed_block,
    decode_block,
    encode_block,
    read_state,
)
from fruitd.errors import SlotError
from tests.fruitd.boot.disks import need, run

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variables=st.dictionaries(NAMES, VALUES, max_size=6))
def test_the_real_grub_editenv_reads_what_we_write(tmp_path: Path, variables: dict[str, str]) -> None:
    """GRUB would see other variables than the node wrote."""
    need("grub-editenv")
    block = tmp_path / "grubenv"
    block.write_bytes(changed_block(encode_block(variables), GrubState("a", "b")))
    listed = [line for line in run("grub-editenv", block, "list").split("\n") if line]
    ours = {"fruit_default": "a", "fruit_armed": "b"} | variables
    assert listed == [f"{name}={value}" for name, value in ours.items()]
    assert decode_block(block.read_bytes()) == ours


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variables=st.dictionaries(NAMES, VALUES.filter(lambda value: "'" not in value), max_size=5))
def test_we_read_what_the_real_grub_editenv_writes(tmp_path: Path, variables: dict[str, str]) -> None:
    """The node would miss what GRUB wrote, such as a try that was used up."""
    need("grub-editenv")
    block = tmp_path / "grubenv"
    block.unlink(missing_ok=True)
    run("grub-editenv", block, "create")
    for name, value in variables.items():
        run("grub-editenv", block, "set", f"{name}={value}")
    assert decode_block(block.read_bytes()) == variables
    changed = changed_block(block.read_bytes(), GrubState("b", None))
    assert decode_block(changed) == {"fruit_default": "b", "fruit_armed": "-"} | variables


def test_a_used_up_try_written_by_grub_editenv_is_one_sector(tmp_path: Path) -> None:
    """A torn write of GRUB would change more than the try."""
    need("grub-editenv")
    block = tmp_path / "grubenv"
    block.write_bytes(changed_block(b"", GrubState("a", "b")))
    before = block.read_bytes()
    run("grub-editenv", block, "set", "fruit_armed=-")
    after = block.read_bytes()
    assert after[512:] == before[512:]
    assert after == changed_block(before, GrubState("a", None))


@given(rubbish=st.binary(max_size=BLOCK_BYTES + 8), signed=st.booleans())
def test_rubbish_is_read_or_refused_and_nothing_else_happens(rubbish: bytes, signed: bool) -> None:
    """A worn sector would end the daemon."""
    data = ((SIGNATURE if signed else b"") + rubbish)[:BLOCK_BYTES].ljust(BLOCK_BYTES, b"#")
    try:
        state = read_state(data, rubbish).state
    except SlotError:
        return
    assert state.default in ("a", "b")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("a", "b"), ("a", None), ("a", "b", ())),
        (("b", None), ("a", None), ("b", None, (1,))),
        (("a", "b"), None, ("a", "b", (1,))),
        (None, ("b", None), ("b", None, (0,))),
        (None, ("b", "a"), ("b", None, (0, 1))),
    ],
)
def test_which_copy_counts(
    first: tuple[str, str | None] | None,
    second: tuple[str, str | None] | None,
    expected: tuple[str, str | None, tuple[int, ...]],
) -> None:
    """A bad first copy would be guessed, or a stale second one believed."""
    blocks = [b"" if state is None else changed_block(b"", GrubState(*state)) for state in (first, second)]
    reading = read_state(*blocks)
    assert (reading.state.default, reading.state.armed, reading.bad) == expected


def test_a_full_block_is_refused_in_words() -> None:
    """A variable too many would be cut off, and the block be no block any more."""
    with pytest.raises(SlotError, match="full"):
        encode_block({"x": "y" * BLOCK_BYTES})
    with pytest.raises(SlotError, match="first sector"):
        encode_block({"fruit_default": "a" * 600})
