from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.pistack import commands, error_codes
from hw.pistack.frames import Request, encode_reply
from hw.pistack.line import Answered, Damaged, Line, Outcome, Refused, Send, Silent, Timing, Wait

ASKED = Request(commands.INPUT_VOLTAGE, 4)
GOOD = encode_reply(True, b"\x12\x34", False)
TIMING = Timing()


class Other:
    """What is at the far end: answers each try with bytes at times after the request's last bit."""

    def __init__(self, *tries: list[tuple[float, bytes]]) -> None:
        self.tries = list(tries)
        self.now_s = 100.0
        self.sent_s: list[float] = []
        self._coming: list[tuple[float, bytes]] = []

    def exchange(self, line: Line, tries: int | None = None) -> Outcome:
        line.ask(ASKED, self.now_s, tries=tries)
        received = b""
        while True:
            match line.advance(self.now_s, received):
                case Send(frame):
                    assert frame == ASKED.frame
                    self.sent_s.append(self.now_s)
                    end_s = self.now_s + len(frame) * TIMING.byte_s
                    self._coming = [
                        (end_s + at_s, data) for at_s, data in (self.tries.pop(0) if self.tries else [])
                    ]
                    received = b""
                case Wait(until_s, wanted, earliest_s):
                    assert wanted >= 0
                    assert earliest_s <= until_s + 1e-9
                    received = b""
                    if self._coming and self._coming[0][0] <= until_s:
                        self.now_s, received = max(self.now_s, self._coming[0][0]), self._coming.pop(0)[1]
                    else:
                        self.now_s = max(self.now_s, until_s)
                case outcome:
                    return outcome


def test_an_answer_ends_an_exchange_at_once() -> None:
    """Each of hundreds of exchanges would wait for silence, and a sweep would take a minute, as the original's did."""
    other = Other([(0.003, GOOD[:2]), (0.006, GOOD[2:])])
    outcome = other.exchange(Line(TIMING))
    assert outcome == Answered(b"\x12\x34", False, True, other.now_s)
    assert other.now_s == pytest.approx(100 + 4 * TIMING.byte_s + 0.006)


def test_the_line_is_quiet_for_a_gap_between_a_reply_and_the_next_request() -> None:
    """A request would meet a board that has not let go of the line yet."""
    other = Other([(0.001, GOOD)], [(0.001, GOOD)])
    line = Line(TIMING)
    other.exchange(line)
    ended_s = other.now_s
    other.exchange(line)
    assert other.sent_s[1] == pytest.approx(ended_s + TIMING.gap_s)


def test_silence_is_an_absent_board_after_all_tries() -> None:
    """A board that is not there would hold up a sweep, or one lost request would lose a board."""
    other = Other()
    outcome = other.exchange(Line(TIMING))
    assert isinstance(outcome, Silent)
    assert len(other.sent_s) == TIMING.tries_max
    assert other.now_s - 100 <= TIMING.exchange_s_max
    once = Other()
    assert isinstance(once.exchange(Line(TIMING), tries=1), Silent)
    assert len(once.sent_s) == 1


@pytest.mark.parametrize(
    "bad",
    [[], [(0.001, GOOD[:3])], [(0.001, GOOD[:-1] + b"\0")], [(0.001, ASKED.frame)], [(0.0, b"\xff" * 300)]],
    ids=["nothing", "half a frame", "wrong checksum", "only an echo", "a flood"],
)
def test_what_is_lost_once_is_asked_again_and_is_not_clean(bad: list[tuple[float, bytes]]) -> None:
    """One spike on the wire would lose a reading; or a value after one would count as if the line were quiet."""
    other = Other(bad, [(0.002, GOOD)])
    outcome = other.exchange(Line(TIMING))
    assert isinstance(outcome, Answered)
    assert not outcome.clean
    assert len(other.sent_s) == 2


def test_noise_in_the_gap_is_waited_for_and_told() -> None:
    """A request would be sent into somebody else's bytes."""
    line = Line(TIMING)
    line.ask(ASKED, 0.0)
    assert isinstance(line.advance(0.0), Send)
    assert isinstance(line.advance(0.02, GOOD), Answered)
    line.ask(ASKED, 0.0201)
    wait = line.advance(0.0201)
    assert isinstance(wait, Wait)
    later = line.advance(0.0203, b"\x55")
    assert isinstance(later, Wait)
    assert later.until_s == pytest.approx(0.0203 + TIMING.silence_s)
    assert isinstance(line.advance(later.until_s), Send)
    answered = line.advance(0.1, GOOD)
    assert isinstance(answered, Answered)
    assert not answered.clean


def test_a_refusal_is_an_outcome_and_a_request_that_arrived_damaged_is_asked_again() -> None:
    """What a board says about a garbled request would be taken for its answer to the right one."""
    garbled = encode_reply(False, bytes([error_codes.CRC_WRONG]), False)
    other = Other([(0.001, garbled)], [(0.001, GOOD)])
    assert isinstance(other.exchange(Line(TIMING)), Answered)
    no = encode_reply(False, bytes([error_codes.UNKNOWN_COMMAND]), True)
    refused = Other([(0.001, no)]).exchange(Line(TIMING))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.length_counts_crc, refused.clean) == (
        error_codes.UNKNOWN_COMMAND,
        True,
        True,
    )


def test_an_echo_of_the_request_is_no_noise() -> None:
    """With a converter that hears itself, every value would be asked for three times."""
    outcome = Other([(-0.001, ASKED.frame[:2]), (0.0, ASKED.frame[2:]), (0.003, GOOD)]).exchange(Line(TIMING))
    assert isinstance(outcome, Answered)
    assert outcome.clean


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.001, 0.05), st.integers(1, 40), st.booleans())
def test_every_exchange_ends(seed: int, pause_s: float, size: int, sometimes: bool) -> None:
    """A line that babbles for ever would hold up a sweep for ever."""
    rng = Random(seed)
    line, now_s = Line(TIMING), 0.0
    line.ask(ASKED, now_s)
    step = line.advance(now_s)
    while not isinstance(step, Answered | Refused | Silent | Damaged):
        if isinstance(step, Wait):
            next_s = min(step.until_s, now_s + pause_s)
            babbles = next_s < step.until_s and (not sometimes or rng.random() < 0.5)
            now_s = next_s
            step = line.advance(now_s, rng.randbytes(size) if babbles else b"")
        else:
            step = line.advance(now_s)
        assert now_s <= TIMING.exchange_s_max


def test_the_bound_is_one_that_can_be_missed() -> None:
    """The test above would pass whatever the line does."""
    other = Other()
    other.exchange(Line(Timing(reply_s_max=9.0)))
    assert other.now_s - 100 > TIMING.exchange_s_max
