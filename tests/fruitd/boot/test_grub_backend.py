"""If one of these failed, a node that GRUB starts would brick, or try a release twice. The real GRUB takes part."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fruitd.boot.grub_backend import (
    GrubBackend,
    create_grub_environment,
    grub_media,
    mend_grub_environment,
    read_grub_state,
    write_grub_state,
)
from fruitd.boot.grubenv import BLOCK_BYTES, GrubState, changed_block, decode_block, read_state
from fruitd.errors import RetryError, SlotError
from tests.fruitd.boot.contract import BootContract
from tests.fruitd.boot.grub_machine import GrubMachine
from tests.fruitd.boot.media import Contents, RecordedMedium, Recorder, states_of
from tests.fruitd.boot.running_system import boot_with, places_in


def block(default: str, armed: str | None = None) -> bytes:
    return changed_block(b"", GrubState(default, armed))


class TestGrubBackend(BootContract):
    """The contract, with the real GRUB choosing."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> GrubMachine:
        return GrubMachine(tmp_path)


CHANGES = [
    (GrubState("a", None), GrubState("a", "b")),
    (GrubState("a", "b"), GrubState("a", None)),
    (GrubState("a", None), GrubState("b", None)),
    (GrubState("b", "a"), GrubState("a", None)),
]
GARBAGE = bytes(range(256)) * 4
BAD = {
    "both good": lambda first, second: (first, second),
    "the first is rubbish": lambda _, second: (GARBAGE, second),
    "the second is rubbish": lambda first, _: (first, GARBAGE),
    "the second sector of the first is rubbish": lambda first, second: (first[:512] + GARBAGE[512:], second),
    "other variables stand first": lambda first, second: (
        first.replace(b"fruit_default", b"x=" + b"y" * 600 + b"\nfruit_default")[:BLOCK_BYTES],
        second,
    ),
}


def write(state: GrubState, media: tuple[RecordedMedium, ...]) -> None:
    write_grub_state((media[0], media[1]), state)


@pytest.mark.parametrize("damage", BAD)
@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_every_power_cut_leaves_the_old_word_or_the_new_one(
    old: GrubState, new: GrubState, damage: str
) -> None:
    """A torn block would start a slot that nobody chose, or none."""
    before: Contents = BAD[damage](block(old.default, old.armed), block(old.default))
    was = read_state(*before).state
    seen = states_of(before, lambda media: write(new, media))
    for state in seen:
        found = read_state(*state).state
        assert found in (old, was, new, GrubState(was.default, None))
        recorder = Recorder()
        media = recorder.media(state)
        write(new, media)
        assert read_state(*(bytes(medium.content) for medium in media)) == read_state(
            block(new.default, new.armed), block(new.default)
        )


def test_the_real_grub_starts_what_the_node_expects_after_every_power_cut(tmp_path: Path) -> None:
    """The node would believe one thing of a torn block and GRUB another."""
    machine = GrubMachine(tmp_path)
    contents: set[Contents] = set()
    for damage in BAD.values():
        for old, new in CHANGES:
            before = damage(block(old.default, old.armed), block(old.default))
            contents |= states_of(before, lambda media, new=new: write(new, media))  # type: ignore[misc]
    assert len(contents) >= 30
    for content in sorted(contents):
        for medium, data in zip(machine.media, content, strict=True):
            medium.write(0, data)
            medium.flush()
        expected = read_state(*content).state
        assert machine.grub() == (expected.armed or expected.default), (content, machine.said)
        after = read_grub_state(machine.media).state
        assert after == GrubState(expected.default, None)


def test_a_change_is_one_sector_of_each_copy() -> None:
    """A block torn between two sectors would matter."""
    for old, new in CHANGES:
        recorder = Recorder()
        write(new, recorder.media((block(old.default, old.armed), block(old.default))))
        writes = [
            (number, offset, len(data)) for number, offset, data in recorder.events if offset is not None
        ]
        assert all((offset, length) == (0, 512) for _, offset, length in writes)
        assert [number for number, _, _ in writes] in ([0], [0, 1])
        assert len(recorder.events) == 2 * len(writes), "each write is flushed before the next one"


def test_a_bad_copy_is_mended_from_the_good_one(tmp_path: Path) -> None:
    """A second bad sector would leave no word on which slot is good."""
    env = tmp_path / "grubenv"
    create_grub_environment(env, "b")
    media = grub_media(env)
    for index in (0, 1):
        media[index].write(0, GARBAGE)
        media[index].flush()
        assert read_grub_state(media).bad == (index,)
        assert read_grub_state(media).state.default == "b"
        mend_grub_environment(media)
        assert read_grub_state(media).bad == ()
    assert read_grub_state(media).state == GrubState("b", None)


def test_two_bad_copies_are_never_replaced_by_a_guess(tmp_path: Path) -> None:
    """A node would boot the slot it was just writing."""
    env = tmp_path / "grubenv"
    create_grub_environment(env, "b")
    media = grub_media(env)
    for medium in media:
        medium.write(0, GARBAGE)
        medium.flush()
    for action in (lambda: read_grub_state(media), lambda: write_grub_state(media, GrubState("a", None))):
        with pytest.raises(SlotError, match="grub-editenv"):
            action()
    assert media[0].read(0, BLOCK_BYTES) == GARBAGE


def test_a_missing_or_short_copy_is_told_with_what_to_do(tmp_path: Path) -> None:
    """A file that was made by hand with another length would be written past its end, or be left alone in silence."""
    env = tmp_path / "grubenv"
    create_grub_environment(env, "a")
    with pytest.raises(RetryError, match="cannot be made"):
        create_grub_environment(env, "b")
    media = grub_media(env)
    (tmp_path / "grubenv.copy").write_bytes(b"short")
    assert read_grub_state(media).state == GrubState("a", None)
    with pytest.raises(RetryError, match=r"5 bytes.*grub-editenv"):
        write_grub_state(media, GrubState("a", "b"))
    (tmp_path / "grubenv.copy").unlink()
    with pytest.raises(RetryError, match="0 bytes"):
        write_grub_state(media, GrubState("a", "b"))
    assert decode_block(env.read_bytes()) is not None


def test_grub_passes_the_slot_and_the_partition_it_loaded_from(tmp_path: Path) -> None:
    """The kernel of one slot would run on the root of the other."""
    machine = GrubMachine(tmp_path)
    machine.backend().arm("b")
    assert machine.grub() == "b"
    words = re.sub(r"\s+", " ", machine.said)
    assert (
        "linux (hd0,msdos2)/boot/vmlinuz root=PARTUUID=12345678-02 ro fruit.slot=b panic=5 quiet console=ttyS0"
        in words
    )


def test_the_watchdog_is_started_for_a_trial_only(tmp_path: Path) -> None:
    """A trial that hangs would stay; or a machine that nobody updates would be reset by a watchdog nobody holds."""
    machine = GrubMachine(tmp_path)
    assert "outb" not in machine.said
    machine.backend().arm("b")
    machine.grub()
    assert machine.said.index("outb 0x443 0x0") < machine.said.index("starting slot b")


@pytest.mark.parametrize(("kernels", "armed", "starts"), [("a", "b", "a"), ("b", None, "b"), ("b", "b", "b")])
def test_a_slot_without_a_kernel_leads_to_the_other(
    tmp_path: Path, kernels: str, armed: str | None, starts: str
) -> None:
    """A slot whose kernel cannot be read any more would brick the node."""
    machine = GrubMachine(tmp_path, kernels)
    if armed:
        write_grub_state((machine.media[0], machine.media[1]), GrubState("a", armed))
    assert machine.grub() == starts


def test_the_slot_grub_names_has_to_be_the_one_the_root_is_on(tmp_path: Path) -> None:
    """A node would write the slot that it runs from."""
    create_grub_environment(tmp_path / "grubenv", "a")
    places = places_in(tmp_path)
    media = grub_media(tmp_path / "grubenv")
    slots = {"a": tmp_path / "a", "b": tmp_path / "b"}
    for arguments, words in (("quiet", "nothing says which slot runs"), ("fruit.slot=c", "no slot")):
        boot_with(places, 1, arguments)
        with pytest.raises(SlotError, match=words):
            GrubBackend(media, slots, places)
