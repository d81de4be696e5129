"""Another master on the bus: unseen, two nodes would each act on the same boards; imagined, one would stand still for nothing."""

from __future__ import annotations

import threading
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.emulator.bus import EmulatedBus, VirtualWire
from hw.emulator.faults import Faults
from hw.emulator.stack import EmulatedStack
from hw.emulator.terminal import serving
from hw.pistack import commands, other_master
from hw.pistack.frames import Request, encode_reply
from hw.pistack.other_master import HEARD_BYTES_MAX, PAIRS_MIN, WITHIN_S, OtherMaster
from hw.pistack.serial_wire import SerialWire
from hw.pistack.stack import PiStack
from hw.pistack.sweep import ASKED
from tests.hw.garbage import FuzzedWire, truth_of


def asked(address: int, number: int) -> Request:
    """The one or other question of a sweep."""
    measured, bay = ASKED[number % len(ASKED)]
    return Request(measured.command, address, () if bay is None else (bay,))


def pair(address: int, number: int, counts: bool = False) -> bytes:
    """A question and its answer, as a third on the line hears them."""
    request = asked(address, number)
    return request.frame + encode_reply(True, bytes(request.command.data_bytes), counts)


def two_masters(echo: bool = False) -> tuple[list[PiStack], list[VirtualWire]]:
    """On one virtual pair with a board on it."""
    bus = EmulatedBus(EmulatedStack.of(1), masters=2, echo=echo)
    wires = [VirtualWire(bus, master=number) for number in range(2)]
    return [PiStack(wire, addresses=(0,)) for wire in wires], wires


@pytest.mark.parametrize("echo", [False, True])
def test_a_sweep_of_another_master_is_heard_by_the_next_sweep(echo: bool) -> None:
    """Two nodes that cannot hear each other in the swarm would both take themselves for the owner of the bus."""
    stacks, wires = two_masters(echo)
    assert stacks[0].sweep().other_master_s is None
    for number in range(6):
        here, there = number % 2, 1 - number % 2
        wires[there].clock_s = wires[here].clock_s + 15.0
        swept = stacks[there].sweep()
        assert swept.complete
        assert swept.other_master_s is not None
        assert swept.started_s <= swept.other_master_s <= swept.ended_s
    assert swept.boards[0].present


def test_one_that_has_stopped_is_heard_no_more() -> None:
    """A node would wait for ever for a program that was run once."""
    stacks, wires = two_masters()
    stacks[0].sweep()
    wires[1].clock_s = wires[0].clock_s
    heard_s = stacks[1].sweep().other_master_s
    for _ in range(3):
        wires[1].pass_time(15)
        assert stacks[1].sweep().other_master_s == heard_s


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("echo", [False, True])
def test_a_master_that_is_alone_hears_nobody(echo: bool, noise: float) -> None:
    """A node's own echo, its repeated questions or late answers would hold back its stack."""
    bus = EmulatedBus(EmulatedStack.of(2, absent=[1]), echo=echo, faults=Faults.evenly(noise), seed=3)
    wire = VirtualWire(bus)
    stack = PiStack(wire, addresses=(0, 1, 2))
    for _ in range(20):
        assert stack.sweep(budget_s=10.0).other_master_s is None
        wire.pass_time(15)


class _LateEcho(VirtualWire):
    """What a converter hears of itself comes when everything is over, with the answer or before the next question."""

    def send(self, frame: bytes) -> bytes:
        self.held, held = frame, getattr(self, "held", b"")
        return held + super().send(frame)

    def receive(self, wanted_bytes: int, earliest_s: float, until_s: float) -> bytes:
        received = super().receive(wanted_bytes, earliest_s, until_s)
        if received and self.clock_s % 0.002 < 0.001:
            received, self.held = received + self.held, b""
        return received


def test_an_echo_that_comes_late_is_ours() -> None:
    """The last question of each sweep would wait in the port, and be found by the next as another's."""
    wire = _LateEcho(EmulatedBus(EmulatedStack.of(2)))
    stack = PiStack(wire, addresses=(0, 1))
    for _ in range(10):
        assert stack.sweep().other_master_s is None
        wire.pass_time(15)


def test_pairs_have_to_differ_and_to_come_soon() -> None:
    """One question that comes back again and again, or three odd ones in a day, would be a master."""
    other = OtherMaster()
    for number in range(10):
        other.hear(pair(1, 0), float(number))
    assert other.heard_s is None
    for number in range(10):
        other.hear(pair(1, number), 100.0 + number * (WITHIN_S / 2 + 1))
    assert other.heard_s is None
    for number in range(PAIRS_MIN):
        other.hear(pair(1, number), 1000.0)
    assert other.heard_s == 1000.0


def test_what_we_asked_ourselves_is_not_heard() -> None:
    """A converter that plays back what it sent would be a master."""
    other = OtherMaster()
    for number in range(5):
        other.sent(asked(1, number).frame)
    other.hear(b"".join(pair(1, number) for number in range(5)), 1.0)
    assert other.heard_s is None
    other.hear(b"".join(pair(1, number) for number in range(8)), 2.0)
    assert other.heard_s == 2.0


def test_questions_without_answers_are_not_enough() -> None:
    """Noise of four bytes would do."""
    other = OtherMaster()
    other.hear(b"".join(asked(1, number).frame for number in range(len(ASKED))), 1.0)
    assert other.heard_s is None


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.booleans())
def test_it_is_heard_however_its_bytes_come(seed: int, counts: bool) -> None:
    """Whether it is noticed would depend on how a converter hands bytes on."""
    rng = Random(seed)
    heard = b"".join(rng.randbytes(rng.randrange(4)) + pair(3, number, counts) for number in range(9))
    whole, torn = OtherMaster(), OtherMaster()
    whole.hear(heard, 1.0)
    for at in range(len(heard)):
        torn.hear(heard[at : at + 1], 1.0)
    assert whole.heard_s == torn.heard_s == 1.0


def damaged_echoes(seed: int, count: int) -> OtherMaster:
    """A line that damages one echo in ten, with a sweep of three boards every 15 s. The damage is of the worst kind: all that
    has to fit the answer stays, and the checksum is all there is against the rest."""
    rng, other, now_s = Random(seed), OtherMaster(), 0.0
    for _ in range(count):
        now_s += rng.expovariate(0.1 * 3 * len(ASKED) / 15.0)
        request = asked(rng.randrange(3), rng.randrange(len(ASKED)))
        other.sent(request.frame)
        echo = rng.randbytes(2) + request.frame[2:]
        other.hear(echo + encode_reply(True, rng.randbytes(request.command.data_bytes), False), now_s)
    return other


def test_noise_is_no_master() -> None:
    """A bad wire would stop all updates of a stack: here is half an hour of noise without a pause, and 32 hours of bad echoes."""
    rng, noise = Random(1), OtherMaster()
    for number in range(400):
        noise.hear(rng.randbytes(HEARD_BYTES_MAX), number * WITHIN_S / 100)
    assert noise.heard_s is None
    assert damaged_echoes(1, 40_000).heard_s is None


def test_the_measurement_sees_a_listener_that_believes_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would pass whatever is believed."""
    monkeypatch.setattr(other_master, "PAIRS_MIN", 1)
    assert damaged_echoes(1, 40_000).heard_s is not None


def test_damaged_answers_are_no_master() -> None:
    """The same, with everything that can be wrong with answers."""
    rng = Random(7)
    wire = FuzzedWire(rng, truth_of(rng), 0.8)
    stack = PiStack(wire, addresses=(0x03, 0x14))
    for _ in range(30):
        assert stack.sweep(budget_s=20.0).other_master_s is None
    assert wire.damaged > 1000


def test_what_is_looked_at_is_bounded() -> None:
    """A line that babbles would fill the memory."""
    other = OtherMaster()
    for _ in range(20):
        other.hear(bytes([0x0F, 1, 4]) * HEARD_BYTES_MAX, 1.0)
        other.sent(asked(1, 1).frame)
    other.hear(b"\x02" * HEARD_BYTES_MAX, 1.0)
    assert len(other._tail) < 32
    assert len(other._own) < 16


def test_two_programs_with_converters_of_their_own_notice_each_other() -> None:
    """The same over real serial ports: one after the other, and both at once."""
    bus = EmulatedBus(EmulatedStack.of(1), masters=2)
    with serving(bus) as one, serving(bus, master=1, lock=one.lock) as other:
        first = PiStack(SerialWire(one.path), addresses=(0,))
        second = PiStack(SerialWire(other.path), addresses=(0,))
        with first, second:
            assert first.sweep().other_master_s is None
            assert second.sweep().other_master_s is not None
            began_s = time.monotonic()
            at_once = [threading.Thread(target=stack.sweep) for stack in (first, second)]
            for thread in at_once:
                thread.start()
            for thread in at_once:
                thread.join()
            for stack in (first, second):
                heard_s = stack.sweep().other_master_s
                assert heard_s is not None
                assert heard_s >= began_s


def test_switching_is_heard_too() -> None:
    """Commands carry data of their own, and some answers none: a node that only switches would be unseen."""
    other = OtherMaster()
    done = encode_reply(True, b"", True)
    for command, arguments in (
        (commands.TURN_ON, (0,)),
        (commands.COLOUR, (1, 2, 3)),
        (commands.TURN_OFF, (1,)),
    ):
        other.hear(Request(command, 2, arguments).frame + done, 5.0)
    assert other.heard_s == 5.0
