"""Up to 16 boards on one supply. Pure: time is told."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from hw.emulator.board import Board, Happened
from hw.pistack.commands import BOARDS_MAX


class EmulatedStack:
    """Boards that share a supply with some resistance: what one draws, all see."""

    def __init__(self, boards: Iterable[Board], supply_v: float = 12.0, supply_ohm: float = 0.05) -> None:
        self.boards = tuple(boards)
        assert len(self.boards) <= BOARDS_MAX, "four switches"
        self.supply_v = supply_v
        """May be changed at any moment: a brown-out, or a power cut."""
        self._ohm = supply_ohm

    @classmethod
    def of(cls, boards: int, absent: Iterable[int] = ()) -> EmulatedStack:
        """So many boards with switches from 0, without those that are absent."""
        missing = frozenset(absent)
        return cls(Board(switches) for switches in range(boards) if switches not in missing)

    def board(self, address: int) -> Board:
        """The (first) one at this address; `KeyError` where there is none."""
        for board in self.boards:
            if board.address == address:
                return board
        raise KeyError(address)

    def advance(self, now_s: float) -> tuple[Happened, ...]:
        """Let time pass; what happened to bays."""
        drawn_w = sum(board.input_w for board in self.boards)
        amperes = drawn_w / self.supply_v if self.supply_v > 0 else 0.0
        input_v = max(0.0, self.supply_v - self._ohm * amperes)
        happened: list[Happened] = []
        for board in self.boards:
            board.advance(now_s, input_v)
            happened += board.happened
            board.happened.clear()
        return tuple(happened)

    def answer(self, frame: bytes) -> bytes | None:
        """What comes back on the bus. Two boards with the same switches talk at once, and nobody understands them."""
        answers = [answer for board in self.boards if (answer := board.answer(frame)) is not None]
        return reduce(_collide, answers) if answers else None


def _collide(one: bytes, other: bytes) -> bytes:
    size = max(len(one), len(other))
    return bytes(a & b for a, b in zip(one.ljust(size, b"\xff"), other.ljust(size, b"\xff"), strict=True))
