"""A wire on which replies are damaged in every way at hand, and a check that nothing wrong is ever believed.

The oracle knows the truth of each board and compares every reading that is called good with it. Runs in any number of processes.
"""

from __future__ import annotations

from random import Random

from attrs import field, mutable

from hw.errors import HwError
from hw.pistack.commands import COMMANDS
from hw.pistack.conversions import COUNTS_MAX, per_count
from hw.pistack.frames import encode_reply
from hw.pistack.line import Line, Timing
from hw.pistack.scripts import Memory
from hw.pistack.sweep import ASKED, Sweep, sweep
from hw.pistack.wire import run
from hw.readings import Quality, Unit

BOARDS = (0x03, 0x14)
BUDGET_S = 30.0
HARDWARE = 3
_QUIET = 1_000_000
_ASKED = {code: COMMANDS[code] for code in {m.command.code for m, _ in ASKED} | {0x02, 0x03, 0x09}}
_STATES = frozenset({0x0F, 0x10})
_VERSIONS = {0x02: 4, 0x03: HARDWARE}

Truth = dict[tuple[int, int, int], int]
"""By address, command code and bay (0 where it is the board's)."""


def truth_of(rng: Random) -> Truth:
    """What the boards measure: random, and the same for a whole sweep."""
    truth = {}
    for address in BOARDS:
        for code, command in _ASKED.items():
            for bay in range(2 if "bay" in command.arguments else 1):
                top = 1 if code in _STATES else min(COUNTS_MAX**2 - 1, 256**command.data_bytes - 1)
                truth[address, code, bay] = _VERSIONS.get(code, rng.randint(0, max(0, top)))
        truth[address, 0x09, 0] = address
    return truth


@mutable
class FuzzedWire:
    """Answers every request with the truth, damaged with probability `damage`."""

    rng: Random
    truth: Truth
    damage: float
    clock_s: float = 0.0
    damaged: int = 0
    replies: int = 0
    counts_crc: bool = False
    _coming: list[bytes] = field(factory=list)
    _late: bytes = b""
    _babbling: bool = False
    _honest: int = _QUIET

    def now_s(self) -> float:
        return self.clock_s

    def send(self, frame: bytes) -> bytes:
        self.clock_s += 0.001 * len(frame)
        self._babbling = False
        came, self._late = self._late, b""
        key = frame[1], frame[0], frame[3] if len(frame) == 5 and frame[0] != 0x09 else 0
        value = self.truth.get(key)
        if value is not None:
            self.replies += 1
            command = COMMANDS[frame[0]]
            reply = encode_reply(True, value.to_bytes(command.data_bytes, "big"), self.counts_crc)
            if self.rng.random() < self.damage:
                self.damaged += 1
                reply = self._damage(reply, key)
            else:
                self._honest += 1
            came += reply
        cut = self.rng.randrange(1, len(came)) if len(came) > 1 and self.rng.random() < 0.2 else len(came)
        self._coming = [came[cut:], came[:cut]] if cut < len(came) else [came]
        return b""

    def receive(self, _wanted: int, _earliest_s: float, until_s: float) -> bytes:
        while self._coming:
            came = self._coming.pop()
            if came:
                self.clock_s += 0.001 * len(came)
                return came
        if self._babbling:
            self.clock_s += 0.005
            return self.rng.randbytes(8)
        self.clock_s = max(self.clock_s, until_s)
        return b""

    def close(self) -> None:
        """Nothing to give back."""

    def _damage(self, reply: bytes, key: tuple[int, int, int]) -> bytes:
        rng = self.rng
        honest, self._honest = self._honest, 0
        match rng.randrange(13):
            case 0:
                return b""
            case 1:
                return reply[: rng.randrange(len(reply))]
            case 2:  # the checksum alone
                return reply[:-1] + rng.randbytes(1)
            case 3:  # a few bits anywhere
                bits = int.from_bytes(reply, "big")
                for _ in range(rng.randint(1, 6)):
                    bits ^= 1 << rng.randrange(8 * len(reply))
                return bits.to_bytes(len(reply), "big")
            case (
                4 | 5 | 6
            ):  # the worst for an 8-bit checksum: a right header, and data and checksum at random
                return reply[:3] + rng.randbytes(len(reply) - 3)
            case 7:
                return rng.randbytes(rng.randrange(1, 20))
            case 8:
                return rng.randbytes(rng.randrange(1, 6)) + reply
            case 9:
                return reply + rng.randbytes(rng.randrange(1, 6))
            case 10:  # whole, and one question too late
                self._late = reply
                return b""
            case 11 if (
                0 < honest < 20
            ):  # right in form, and another's: stray, as late replies are, so after something else
                self._honest = _QUIET
                other = rng.choice([each for each in self.truth if each[1] != key[1] or each[0] != key[0]])
                size = COMMANDS[other[1]].data_bytes
                return encode_reply(
                    rng.random() < 0.8, self.truth[other].to_bytes(size, "big"), rng.random() < 0.5
                )
            case _:
                self._babbling = rng.random() < 0.05
                return rng.randbytes(4)


def fuzz(seed: int, damaged_min: int) -> tuple[int, list[str]]:
    """So many damaged replies at least; how many there were, and what went wrong, in words."""
    rng = Random(seed)
    damaged, wrong = 0, []
    while damaged < damaged_min and len(wrong) < 5:
        wire = FuzzedWire(rng, truth_of(rng), 0.0, counts_crc=rng.random() < 0.5)
        memory = Memory()
        line = Line(Timing(tries_max=rng.randint(1, 3)))
        for _ in range(rng.randint(1, 6)):
            wire.damage = rng.choice((0.0, 0.1, 0.3, 0.6, 0.8, 0.9, 1.0))
            started_s = wire.clock_s
            try:
                swept = run(sweep(memory, BOARDS, started_s, BUDGET_S), line, wire)
            except HwError as error:
                wrong.append(f"seed {seed}: a sweep raised {error!r}")
                break
            if wire.clock_s - started_s > BUDGET_S + line.timing.exchange_s_max:
                wrong.append(f"seed {seed}: a sweep took {wire.clock_s - started_s:.1f} s")
            wrong += [f"seed {seed}: {text}" for text in misbelieved(swept, wire.truth)]
            if rng.random() < 0.5:
                wire.truth = truth_of(rng)
        damaged += wire.damaged
    return damaged, wrong


def misbelieved(swept: Sweep, truth: Truth) -> list[str]:
    """Readings that are called good or out of range, and are further from the truth than two readings are from each other."""
    wrong = []
    for board in swept.boards:
        for measured, bay in ASKED:
            reading = board.reading(measured.quantity, bay)
            if reading is None or reading.quality is Quality.STALE:
                continue
            if reading.value is None:
                wrong.append(f"{reading.source} {reading.quantity.label} is said to have no sensor")
                continue
            factor = (
                1.0 if measured.quantity.unit is Unit.ONE else per_count(measured.quantity, HARDWARE) or 1.0
            )
            real = truth[board.address, measured.command.code, bay or 0]
            if abs(reading.value / factor - real) > measured.tolerance + 0.5:
                wrong.append(
                    f"{reading.source} {reading.quantity.label} is {real}, told as {reading.value / factor:.0f}"
                )
    return wrong
