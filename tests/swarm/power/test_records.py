"""Records about power: if one of these failed, a node could speak for another's board, or power be switched by nobody who may."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.admission import Admission
from swarm.errors import NotYetError, Reason, RefusedError
from swarm.intake import Intake
from swarm.news.record import Record
from swarm.news.store import RecordStore, Standing
from swarm.power import (
    FIGURES,
    PAUSE_S_MAX,
    BayPower,
    Beat,
    Figure,
    NodeHealth,
    PauseAsked,
    Place,
    Supply,
    Worth,
    check_said,
    fitting,
    said_record,
)
from swarm.roll import Roll
from swarm.signing import signed
from swarm.switching import VALID_S_MAX, Action, SwitchCommand, check_switch
from swarm.trust.trusted_set import TrustedSet
from swarm.wire import Push, fits_datagram
from tests.swarm.trust.ceremony import key
from tests.swarm.trust.fellowship import NOW_S, OPERATORS, closed_root, member_record, token_file

OWNER, OTHER = key("owner"), key("other")
BAY = BayPower(
    NOW_S, "rack-1", Place(3, 1), node_id=OTHER.node_id, figures=(Figure(5040, Worth.GOOD),) * len(FIGURES)
)
HEALTH = NodeHealth(NOW_S, "rack-1", Place(3, 1), Beat.BEATING, supply=Supply(False, True, False, None, 1423))
PAUSE = PauseAsked(NOW_S, "rack-1", OTHER.node_id, 45)
OFF = SwitchCommand(
    closed_root().swarm, "rack-1", Place(3, 1), OTHER.node_id, Action.OFF, "card is replaced", NOW_S + 600
)
words = st.text(max_size=200).map(fitting)
whole = st.integers(0, 2**53 - 1)
places = st.builds(Place, st.integers(0, 254), st.integers(0, 1))
figures = st.builds(Figure, st.none() | whole, st.sampled_from(Worth))
flags = st.none() | st.booleans()
node_ids = st.binary(min_size=20, max_size=20)
healths = st.builds(
    NodeHealth, whole, st.sampled_from(["", "rack-1", "A" * 40]), st.none() | places, st.sampled_from(Beat), st.booleans(),
    words, st.builds(Supply, flags, flags, flags, flags, st.none() | st.integers(0, 5000)), whole, st.booleans(), st.booleans(),
)  # fmt: skip
powers = st.builds(
    BayPower, whole, st.sampled_from(["rack-1", "A" * 40]), places, st.booleans(), flags, flags, whole,
    st.tuples(*[figures] * len(FIGURES)), node_ids | st.just(b""), st.just("configured"), st.just("off for a moment"), words,
    words, whole, whole, whole, whole, whole,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(healths | powers)
def test_what_is_said_is_read_as_it_was_said_and_fits_a_datagram(said: NodeHealth | BayPower) -> None:
    """A bay's word would be cut off on its way, or mean something else when it arrives."""
    record = said_record(said, OWNER, NOW_S)
    assert check_said(Record.decode(record.encode())) == said
    assert fits_datagram(Push(record))


def test_later_words_have_higher_sequences_even_where_the_clock_went_back() -> None:
    """A Pi that restarts without a clock could not say anything new for hours."""
    first = said_record(HEALTH, OWNER, NOW_S)
    assert said_record(HEALTH, OWNER, NOW_S - 1000, first.sequence).sequence == first.sequence + 1


def _altered() -> list[tuple[str, Record]]:
    power, health = said_record(BAY, OWNER, NOW_S), said_record(HEALTH, OWNER, NOW_S)
    elsewhere = evolve(power, key=OWNER.node_id + bytes((3, 0)), signatures=())
    forged = evolve(power, key=OTHER.node_id + power.key[20:], signatures=())
    return [
        ("another bay's key", signed(elsewhere, OWNER)),
        ("another owner's key", signed(forged, OWNER)),
        ("no signature", evolve(power, signatures=())),
        ("two signatures", signed(power, OTHER)),
        ("another body", evolve(power, body=evolve(BAY, powered=True).encode())),
        ("health as power", signed(evolve(health, kind="power", signatures=()), OWNER)),
        (
            "a flag that is a number",
            signed(evolve(health, body=health.body.replace(b"\xc3", b"\x01"), signatures=()), OWNER),
        ),
    ]


@pytest.mark.parametrize(("what", "record"), _altered())
def test_nobody_speaks_for_another(what: str, record: Record) -> None:
    """A member could tell that another's bay is silent, or that another's heart beats."""
    with pytest.raises(RefusedError):
        check_said(record)


@pytest.mark.parametrize("for_s", [0, PAUSE_S_MAX + 1, -1])
def test_a_pause_longer_than_a_board_forgives_is_no_pause(for_s: int) -> None:
    """Whoever asks for pauses could have nodes power-cycled."""
    with pytest.raises(RefusedError):
        PauseAsked.decode(evolve(PAUSE, for_s=for_s).encode())


def _node() -> tuple[RecordStore, Intake]:
    trusted = TrustedSet(closed_root())
    store = RecordStore(Admission(trusted).verdict)
    return store, Intake(store, Roll(store, trusted), trusted)


def test_only_members_words_about_power_count() -> None:
    """Somebody with a stolen swarm key could fill the picture of every stack, and give turns."""
    store, intake = _node()
    record = said_record(BAY, OWNER, NOW_S)
    with pytest.raises(NotYetError) as refused:
        intake.publish(record)
    assert refused.value.reason is Reason.NOT_A_MEMBER
    token = token_file("batch")
    intake.publish(token.terms)
    intake.publish(member_record(OWNER, token))
    for said in (BAY, HEALTH, PAUSE):
        assert intake.publish(said_record(said, OWNER, NOW_S))[0] is Standing.NEW
    store.forget("token", token.terms.key)
    fallen = Roll(store, TrustedSet(closed_root())).fallen()
    assert {("power", record.key), ("health", OWNER.node_id), ("pause", OWNER.node_id)} <= set(fallen)


def _command(**changes: Any) -> Record:
    return evolve(OFF, **changes).record(NOW_S)


def test_an_operators_command_counts() -> None:
    """Operators could not switch anything."""
    root = closed_root()
    assert check_switch(root, signed(_command(), *OPERATORS)) == OFF


@pytest.mark.parametrize(
    ("what", "record"),
    [
        ("nobody signed", _command()),
        ("a node signed", signed(_command(), OWNER)),
        ("for another swarm", signed(_command(swarm="elsewhere"), *OPERATORS)),
        ("valid for ever", signed(_command(expires_at_s=NOW_S + VALID_S_MAX + 1), *OPERATORS)),
        ("expired when it was said", signed(_command(expires_at_s=NOW_S), *OPERATORS)),
        ("under another bay's key", signed(evolve(_command(), key=b"rack-1\0\x03\x00"), *OPERATORS)),
        (
            "signed for another bay",
            evolve(signed(_command(), *OPERATORS), body=evolve(OFF, place=Place(3, 0)).encode()),
        ),
    ],
)
def test_nobody_else_switches_power(what: str, record: Record) -> None:
    """Anybody on the network could take a site's power."""
    with pytest.raises(RefusedError):
        check_switch(closed_root(), record)


def test_an_old_command_is_not_taken_again() -> None:
    """Whoever recorded an "off" could repeat it after the "on"."""
    store, intake = _node()
    off, on = (
        signed(_command(), *OPERATORS),
        signed(evolve(OFF, action=Action.ON).record(NOW_S + 5), *OPERATORS),
    )
    assert intake.publish(on)[0] is Standing.NEW
    assert intake.publish(off)[0] is Standing.OLDER
    held = store.get("switch", OFF.key)
    assert held is not None
    assert held.record == on
