"""One request and its reply on a half-duplex line: gaps, times and tries. Pure: time and bytes in, what to do next out.

    ask() ── gap: the line has to be quiet ──> Send ──> reply whole: Answered, or Refused
                 ^                                 |──> nothing in time ─────────┐
                 |                                 └──> something, then silence ─┤
                 └──────────────── tries left <──────────────────────────────────┘──> Silent, or Damaged

Whatever the other side does, an exchange ends: `Timing.exchange_s_max` says when at the latest.
"""

from __future__ import annotations

from enum import Enum, auto

from attrs import frozen

from hw.pistack.error_codes import DAMAGED_ON_THE_WAY
from hw.pistack.frames import FRAME_BYTES_MAX, Reply, ReplyReader, Request
from hw.pistack.other_master import OtherMaster

BAUD = 9600
_BITS_PER_BYTE = 10
"""A start bit, eight of data, a stop bit."""


@frozen
class Timing:
    """How long things take on this line, in seconds. Only `byte_s` is documented; the rest is chosen, and said to be."""

    byte_s: float = _BITS_PER_BYTE / BAUD
    gap_s: float = 0.0005
    """Quiet time between a reply and the next request, in which a board lets go of the line. Half a byte: larger costs every
    request, smaller may find a slow driver still talking. Raise it where first tries fail and second ones do not."""
    reply_s_max: float = 0.1
    """From the last bit of a request to the first of its reply. The firmware's own time is not documented; the original client
    allowed 0.4 s for all. Larger makes absent boards cost more in each sweep, smaller loses slow ones."""
    silence_s: float = 0.02
    """Quiet time after which what came is all that will come. USB converters hold bytes back for up to 16 ms."""
    settle_s_max: float = 0.1
    """How long a line that is never quiet is waited for before the next try."""
    tries_max: int = 3

    @classmethod
    def at(cls, baud: int) -> Timing:
        """For another speed than 9600."""
        return cls(byte_s=_BITS_PER_BYTE / baud)

    @property
    def exchange_s_max(self) -> float:
        """No exchange takes longer, whatever is on the line."""
        reading_s = self.reply_s_max + (FRAME_BYTES_MAX + 16) * self.byte_s
        return self.tries_max * (reading_s + self.settle_s_max + self.gap_s + self.silence_s)


@frozen
class Send:
    """Write this to the line now; what had been received before does not count any more."""

    frame: bytes


@frozen
class Wait:
    """Call again with what comes, at `until_s` at the latest."""

    until_s: float
    wanted_bytes: int
    """How many bytes it takes at least to get further; fewer are of no use before `until_s`. 0: none are expected, and any are
    noise."""
    earliest_s: float
    """No sooner can that many be there: a thin shell may sleep until then."""


@frozen
class Answered:
    """A whole reply with a right checksum."""

    data: bytes
    length_counts_crc: bool
    clean: bool
    """First try, and not a byte of noise."""
    at_s: float


@frozen
class Refused:
    """A whole reply with a right checksum that holds an error code."""

    code: int
    length_counts_crc: bool
    clean: bool
    at_s: float


@frozen
class Silent:
    """Not a byte came, in the last of the tries."""

    at_s: float
    clean: bool = False


@frozen
class Damaged:
    """Something came, and was no reply."""

    at_s: float
    clean: bool = False


Outcome = Answered | Refused | Silent | Damaged


class _State(Enum):
    IDLE = auto()
    GAP = auto()
    READING = auto()


class Line:
    """One exchange after the other; `advance` is called until it gives an outcome."""

    def __init__(self, timing: Timing, other: OtherMaster | None = None) -> None:
        """`other`: hears all that comes and is no reply; it outlives a line that starts afresh."""
        self.timing = timing
        self.other = OtherMaster() if other is None else other
        self._state = _State.IDLE
        self._quiet_since_s = float("-inf")
        self._quiet_needed_s = timing.gap_s
        self._tries_left = 0
        self._clean = True

    def ask(
        self, request: Request, now_s: float, length_counts_crc: bool | None = None, tries: int | None = None
    ) -> None:
        """Begin an exchange. One at a time."""
        assert self._state is _State.IDLE, "the line has one exchange under way"
        self._request, self._counts = request, length_counts_crc
        self._tries_left = tries or self.timing.tries_max
        self._clean = True
        self._to_gap(now_s, self.timing.gap_s)

    def advance(self, now_s: float, received: bytes = b"") -> Send | Wait | Outcome:
        """What has come, and what time it is; what to do next."""
        if self._state is _State.GAP:
            return self._in_gap(now_s, received)
        assert self._state is _State.READING, "ask first"
        return self._reading(now_s, received)

    def waited(self, received: bytes, now_s: float) -> None:
        """This had come before the last `Send`, unread: it belongs to no exchange."""
        if received:
            self.other.hear(received, now_s)

    def _to_gap(self, now_s: float, quiet_s: float) -> None:
        self._state = _State.GAP
        self._quiet_needed_s = quiet_s
        self._give_up_s = now_s + self.timing.settle_s_max

    def _in_gap(self, now_s: float, received: bytes) -> Send | Wait:
        if received:
            self.other.hear(received, now_s)
            self._clean = False
            self._quiet_since_s = now_s
            self._quiet_needed_s = self.timing.silence_s  # somebody else is talking: let them finish
        quiet_s = self._quiet_since_s + self._quiet_needed_s
        if now_s < min(quiet_s, self._give_up_s):
            return Wait(min(quiet_s, self._give_up_s), 0, now_s)
        self._state = _State.READING
        self._reader = ReplyReader(self._request, self._counts)
        self._tries_left -= 1
        frame = self._request.frame
        self.other.sent(frame)
        self._sent_s = now_s + len(frame) * self.timing.byte_s
        self._heard_s = self._sent_s
        self._end_s = self._sent_s + self.timing.reply_s_max + FRAME_BYTES_MAX * self.timing.byte_s
        return Send(frame)

    def _reading(self, now_s: float, received: bytes) -> Wait | Send | Outcome:
        reader = self._reader
        if received:
            self._heard_s = max(now_s, self._sent_s)
            reply = reader.feed(received)
            if reply is not None:
                return self._replied(reply, now_s)
        silence_s = self.timing.silence_s if reader.anything else self.timing.reply_s_max
        until_s = min(max(self._heard_s, self._sent_s) + silence_s, self._end_s)
        if now_s < until_s and not reader.hopeless:
            wanted = reader.wanted_bytes
            earliest_s = max(self._heard_s, self._sent_s) + wanted * self.timing.byte_s
            return Wait(until_s, wanted, min(earliest_s, until_s))
        self._quiet_since_s = self._heard_s
        if reader.anything:
            self.other.hear(reader.received, now_s)
        return self._failed(now_s, silent=not reader.anything)

    def _replied(self, reply: Reply, now_s: float) -> Send | Wait | Outcome:
        self._quiet_since_s = now_s
        self._clean = self._clean and not self._reader.noisy
        if self._reader.noisy:
            self.other.hear(self._reader.received, now_s)
        if not reply.ok and reply.data[0] in DAMAGED_ON_THE_WAY and self._tries_left:
            return self._again(now_s)
        self._state = _State.IDLE
        if reply.ok:
            return Answered(reply.data, reply.length_counts_crc, self._clean, now_s)
        return Refused(reply.data[0], reply.length_counts_crc, self._clean, now_s)

    def _failed(self, now_s: float, silent: bool) -> Send | Wait | Outcome:
        if self._tries_left:
            return self._again(now_s)
        self._state = _State.IDLE
        return Silent(now_s) if silent else Damaged(now_s)

    def _again(self, now_s: float) -> Send | Wait:
        self._clean = False
        self._to_gap(now_s, self.timing.silence_s)
        return self._in_gap(now_s, b"")
