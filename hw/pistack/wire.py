"""What a script is run on."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeVar

from hw.pistack.line import Line, Outcome, Send, Wait
from hw.pistack.scripts import Ask

T = TypeVar("T")


class Wire(Protocol):
    """Bytes to boards and back, and the clock they travel by. Raises only `PortError`."""

    def now_s(self) -> float:
        """A clock that never goes back."""
        ...

    def send(self, frame: bytes) -> bytes:
        """Write this, and give what had come before and waited: it is no reply. May return before the last bit is out."""
        ...

    def receive(self, wanted_bytes: int, earliest_s: float, until_s: float) -> bytes:
        """What comes: at least so many bytes (one at least), or what there is at `until_s`.

        No sooner than `earliest_s` can there be enough.
        """
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


def run(script: Generator[Ask, Outcome, T], line: Line, wire: Wire) -> T:
    """Carry a script out, and give what it gives; raises what it raises, and `PortError`."""
    try:
        ask = next(script)
        while True:
            ask = script.send(_exchange(ask, line, wire))
    except StopIteration as end:
        value: T = end.value
        return value


def _exchange(ask: Ask, line: Line, wire: Wire) -> Outcome:
    line.ask(ask.request, wire.now_s(), ask.length_counts_crc, ask.tries)
    received = b""
    while True:
        match line.advance(wire.now_s(), received):
            case Send(frame):
                line.waited(wire.send(frame), wire.now_s())
                received = b""
            case Wait(until_s, wanted_bytes, earliest_s):
                received = wire.receive(wanted_bytes, earliest_s, until_s)
            case outcome:
                return outcome
