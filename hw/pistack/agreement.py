"""When a value that came over a noisy line is believed.

A reply says neither which board it is from nor which request it answers, and its checksum has 8 bits: of replies whose bytes are
garbled at random, one in 256 passes. So a right checksum alone makes nothing true. A value is believed

    at once                    if it is as steady as a quiet line with a steady load makes it (a narrow band around the last one);
    when two in a row agree    if it is not, or is the first: as far as two readings of a load that varies do agree;
    one more than that         for some time after anything was odd on the line: a byte of noise, a second try, silence.

On a quiet line with steady loads that costs nothing; a heartbeat that is lost, or a Pi that starts to work, costs one more
exchange. Of two replies in a row that are both garbled at random, less than one pair in 65,536 × 16 passes and agrees, and the
first reply that does not pass asks for a third. What remains: a single reply, garbled at random on a line that has long been
quiet, that passes (one in 256) and lands in the narrow band (one in 128) just when the real value has moved: then the old value
stands until the next sweep. Several replies for every value would close that too, at so many times the bits.
"""

from __future__ import annotations

from attrs import frozen

AFTER_ODD_EXCHANGES = 64
"""For how many exchanges a line that was odd is held to three. A sweep of one board has about 20: smaller forgets a burst
within a sweep, larger slows the sweeps after a single spike."""


@frozen
class Told:
    """What a reply said: data as a number, or an error code."""

    value: int
    refused: bool = False

    def agrees(self, other: Told | None, tolerance: int) -> bool:
        """Whether both say the same, as far as measurements do."""
        if other is None or self.refused is not other.refused:
            return False
        return abs(self.value - other.value) <= (0 if self.refused else tolerance)


class LineHealth:
    """How odd this line has been lately."""

    def __init__(self) -> None:
        self._exchanges = 0
        self._odd_until = 0

    def count(self, clean: bool) -> None:
        """One more exchange."""
        self._exchanges += 1
        if not clean:
            self._odd_until = self._exchanges + AFTER_ODD_EXCHANGES

    @property
    def agreeing_needed(self) -> int:
        """How many replies in a row have to agree on something new."""
        return 3 if self._exchanges < self._odd_until else 2


class Agreement:
    """Decides on one value, reply by reply."""

    def __init__(self, believed: Told | None, tolerance: int, steady: int = 0) -> None:
        """`tolerance`: how far two replies may differ and agree; `steady`: how far one may be from what is believed."""
        self._believed = believed
        self._steady = steady
        self._tolerance = tolerance
        self._last: Told | None = None
        self._in_a_row = 0

    def hear(self, told: Told, needed: int) -> bool:
        """True once this is to be believed."""
        self._in_a_row = self._in_a_row + 1 if told.agrees(self._last, self._tolerance) else 1
        self._last = told
        return self._in_a_row + told.agrees(self._believed, self._steady) >= needed

    def interrupt(self) -> None:
        """A reply was lost: what comes next is not in a row with what came before."""
        self._last, self._in_a_row = None, 0
