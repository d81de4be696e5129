"""Whether somebody else asks the boards of this bus. Pure: bytes and times in.

On a shared pair every byte of another master arrives here as well: between our sweeps, in gaps, and beside a reply. What counts
is a *pair*: a whole request that is not one of ours, directly followed by a whole reply to it. Three different ones within a
minute are another master. Why so many:

- Noise passes for a pair once in 10**15 places: the checksums alone let one in 256 through, but command, address, length and the
  reply's header have to fit too.
- Our own request, heard back by a converter and damaged on the way, is followed by its real reply, so that only its own checksum
  stands against it. Damage of the worst kind makes a pair of one echo in ten thousand (measured): on a line that damages one in
  ten, a few times a day. Three within a minute are none in 10**8 of its minutes.
- A request of ours that comes back late, or was repeated, is known by its bytes.

A real master asks seventeen questions of every board, so it shows as soon as a tenth of a second of its sweep is heard.
"""

from __future__ import annotations

from collections import deque

from hw.errors import WrongRequestError
from hw.pistack.commands import COMMANDS, MASTER
from hw.pistack.frames import HEADER_BYTES, ReplyReader, Request, reply_bytes

PAIRS_MIN = 3
WITHIN_S = 60.0
"""Longer: damaged echoes of more than one sweep add up. Shorter: what a collision leaves of a sweep may not be enough."""
OWN_MAX = 8
"""So many of our last requests are known again. An echo comes before the reply to it, at the latest when a converter lets go of
what it holds back (16 ms), which is two exchanges. More: less is left of another master that asks one board what we ask it."""
HEARD_BYTES_MAX = 4096
"""So much is looked at of what comes at once; a terminal keeps no more. A sweep of one board is 180 bytes."""
_ERROR_BYTES = HEADER_BYTES + 2
_PAIR_BYTES_MAX = max(
    HEADER_BYTES + len(command.arguments) + 1 + max(reply_bytes(command), _ERROR_BYTES)
    for command in COMMANDS.values()
)


class OtherMaster:
    """Hears all that comes from one line and is no clean reply."""

    def __init__(self) -> None:
        self.heard_s: float | None = None
        """When it was heard last, at the latest: what waited in a port came some time before it was read. None: never."""
        self._own: deque[bytes] = deque(maxlen=OWN_MAX)
        self._pairs: deque[tuple[bytes, float]] = deque(maxlen=PAIRS_MIN)
        self._tail = b""

    def sent(self, frame: bytes) -> None:
        """A request of ours: what comes back of it is nobody else's."""
        self._own.append(frame)
        self._tail = b""

    def hear(self, data: bytes, now_s: float) -> None:
        """Bytes as they came, those of one call directly after those of the last."""
        heard = self._tail + data[-HEARD_BYTES_MAX:]
        at = counted = 0
        while at < len(heard) - HEADER_BYTES:
            pair = _pair_at(heard, at)
            if pair is None:
                at += 1
                continue
            request, at = pair
            counted = at
            if request not in self._own:
                self._count(request, now_s)
        self._tail = heard[max(counted, len(heard) - _PAIR_BYTES_MAX) :]

    def _count(self, request: bytes, now_s: float) -> None:
        self._pairs = deque((pair for pair in self._pairs if pair[0] != request), maxlen=PAIRS_MIN)
        self._pairs.append((request, now_s))
        if len(self._pairs) == PAIRS_MIN and now_s - self._pairs[0][1] <= WITHIN_S:
            self.heard_s = now_s


def _pair_at(heard: bytes, at: int) -> tuple[bytes, int] | None:
    """The request that begins here, if its reply follows, and where that ends."""
    command = COMMANDS.get(heard[at])
    if command is None or command.varies or heard[at + 1] == MASTER:
        return None
    length = HEADER_BYTES + len(command.arguments)
    frame = heard[at : at + length + 1]
    if heard[at + 2] != length or len(frame) != length + 1:
        return None
    try:
        request = Request(command, frame[1], tuple(frame[HEADER_BYTES:length]))
    except WrongRequestError:
        return None
    if request.frame != frame:
        return None
    for size in (reply_bytes(command), _ERROR_BYTES):
        end = at + len(frame) + size
        reader = ReplyReader(request)
        if reader.feed(heard[at + len(frame) : end]) is not None and not reader.noisy:
            return frame, end
    return None
