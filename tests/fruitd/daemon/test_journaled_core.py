"""On a full disk a node would act on what it will not remember, or wait for ever for a stream that was never opened."""

from __future__ import annotations

from typing import cast

from attrs import define, evolve, field

from fruitd.daemon.journaled_core import JournaledCore
from fruitd.errors import RetryError
from fruitd.node.core import NodeCore
from fruitd.node.effects import NodeEffect
from fruitd.updater.effects import ArmSlot, Note, SaveJournal
from fruitd.updater.events import Event, Wakeup
from fruitd.updater.journal import Journal, State
from swarm.address import Address
from swarm.effects import OpenStream, SendDatagram

FIRST = Journal()
SECOND = evolve(FIRST, state=State.ARMED)
DATAGRAM = SendDatagram(Address("10.0.0.1", 1), b"x")
STREAM = OpenStream(1, Address("10.0.0.1", 1), b"x", 1.0)
ARM = ArmSlot("b", "00")
THINKS_AGAIN = Note("state not saved", "no space")


@define
class FakeCore:
    """Asks for the same things at every event, and remembers what was not saved."""

    not_saved: list[Journal] = field(factory=list)

    def update_event(self, event: Event, now_s: float) -> list[NodeEffect]:
        return [SaveJournal(FIRST), DATAGRAM, SaveJournal(SECOND), ARM, STREAM]

    def journal_not_saved(self, journal: Journal, why: str, now_s: float) -> list[NodeEffect]:
        self.not_saved.append(journal)
        return [THINKS_AGAIN]


def _effects(room_for: int) -> tuple[list[NodeEffect], list[Journal], FakeCore]:
    saved: list[Journal] = []

    def save(journal: Journal) -> None:
        if len(saved) == room_for:
            raise RetryError("no space")
        saved.append(journal)

    core = FakeCore()
    journaled = JournaledCore(cast(NodeCore, core), save, lambda: 0.0)
    return journaled.update_event(Wakeup(), 0.0), saved, core


def test_saved_journals_let_everything_pass_in_order() -> None:
    """No update would ever be armed."""
    effects, saved, core = _effects(room_for=2)
    assert effects == [DATAGRAM, ARM, STREAM]
    assert saved == [FIRST, SECOND]
    assert core.not_saved == []


def test_what_stands_behind_an_unsaved_journal_is_held_back_but_for_the_swarm() -> None:
    """A slot would be armed without a record of it; or the swarm core would wait for a stream nobody opened."""
    effects, saved, core = _effects(room_for=1)
    assert effects == [DATAGRAM, STREAM, THINKS_AGAIN]
    assert saved == [FIRST]
    assert core.not_saved == [SECOND]


def test_no_later_journal_is_saved_once_one_was_not() -> None:
    """The disk would hold a decision whose ground is missing."""
    effects, saved, core = _effects(room_for=0)
    assert effects == [DATAGRAM, STREAM, THINKS_AGAIN]
    assert saved == []
    assert core.not_saved == [FIRST]
