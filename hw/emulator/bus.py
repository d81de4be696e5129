"""The serial bus with boards on it, each byte at its time. Pure: time is told, chance is seeded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from hw.emulator.board import Happened
from hw.emulator.faults import Faults
from hw.emulator.stack import EmulatedStack
from hw.pistack.frames import FRAME_BYTES_MAX
from hw.pistack.line import Timing

ANSWER_S = 0.0002
"""From the last bit of a request to the first of the reply. Guessed: a small controller that has the value at hand."""
LIFE_S = 0.02
"""How often boards and Pis live on while nobody asks them anything."""
_FORGET_S = 0.01
"""After so much quiet a board takes the next byte for the first of a request."""


class EmulatedBus:
    """What the host writes goes in, what comes back to it comes out, both as slow as the wire is."""

    def __init__(
        self,
        stack: EmulatedStack,
        *,
        byte_s: float | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        echo: bool = False,
        answer_s: float = ANSWER_S,
        on_happened: Callable[[Happened], None] | None = None,
        in_chunks: bool = False,
    ) -> None:
        """`echo`: the host's converter hears what it sends itself, as many do. `in_chunks`: it hands a reply on as a whole, when
        its last byte has come, as those on USB do; so a busy machine that emulates it does not tear replies apart.
        """
        self.stack = stack
        self.faults = faults or Faults()
        self._byte_s = Timing().byte_s if byte_s is None else byte_s
        self._rng = Random(seed)
        self._echo = echo
        self._answer_s = answer_s
        self._on_happened = on_happened
        self._in_chunks = in_chunks
        self._from_host: deque[tuple[float, int]] = deque()
        self._to_host: deque[tuple[float, int]] = deque()
        self._request = bytearray()
        self._heard_s = self._lived_s = float("-inf")
        self.requests = 0

    def host_writes(self, data: bytes, now_s: float) -> None:
        """Queue the host's bytes: each takes its time on the wire."""
        at_s = max(now_s, self._from_host[-1][0] if self._from_host else now_s)
        for byte in data:
            at_s += self._byte_s
            self._from_host.append((at_s, byte))

    def next_s(self) -> float | None:
        """When something happens next, if nobody writes; None if nothing does."""
        times = [queue[0][0] for queue in (self._from_host, self._to_host) if queue]
        return min(times, default=None)

    def advance(self, now_s: float) -> bytes:
        """Let time pass; the bytes that have reached the host since."""
        while self._from_host and self._from_host[0][0] <= now_s:
            self._hear(*self._from_host.popleft())
        if now_s - self._lived_s >= LIFE_S:
            self._live(now_s)
        came = bytearray()
        while self._to_host and self._to_host[0][0] <= now_s:
            came.append(self._to_host.popleft()[1])
        return bytes(came)

    def _live(self, now_s: float) -> None:
        self._lived_s = now_s
        for happened in self.stack.advance(now_s):
            if self._on_happened is not None:
                self._on_happened(happened)

    def _hear(self, at_s: float, byte: int) -> None:
        if at_s - self._heard_s > _FORGET_S:
            self._request.clear()
        self._heard_s = at_s
        self._request.append(byte)
        if self._echo:
            self._to_host.append((at_s, byte))
        if len(self._request) < 3 or len(self._request) <= self._request[2]:
            return
        frame = bytes(self._request[:FRAME_BYTES_MAX])
        self._request.clear()
        self.requests += 1
        self._live(at_s)
        answer = self.stack.answer(frame)
        if answer is None:
            return
        answer, late_s = self.faults.apply(answer, self._rng)
        free_s = self._to_host[-1][0] if self._to_host else at_s
        at_s = max(at_s + self._answer_s + late_s, free_s)
        whole_s = at_s + len(answer) * self._byte_s
        for answered in answer:
            at_s += self._byte_s
            self._to_host.append((whole_s if self._in_chunks else at_s, answered))


class VirtualWire:
    """A `Wire` on the emulated bus, and on a clock that jumps to where something happens."""

    def __init__(self, bus: EmulatedBus, now_s: float = 0.0) -> None:
        self.bus = bus
        self.clock_s = now_s
        bus.advance(now_s)

    def now_s(self) -> float:
        """Virtual seconds."""
        return self.clock_s

    def pass_time(self, seconds: float) -> None:
        """Let time pass with nobody listening."""
        self.clock_s += seconds
        self.bus.advance(self.clock_s)

    def send(self, frame: bytes) -> None:
        """See `Wire`."""
        self.bus.advance(self.clock_s)
        self.bus.host_writes(frame, self.clock_s)

    def receive(self, wanted_bytes: int, _earliest_s: float, until_s: float) -> bytes:
        """See `Wire`."""
        received = b""
        while len(received) < max(1, wanted_bytes):
            next_s = self.bus.next_s()
            if next_s is None or next_s > until_s:
                self.clock_s = max(self.clock_s, until_s)
                break
            self.clock_s = max(self.clock_s, next_s)
            received += self.bus.advance(self.clock_s)
        return received

    def close(self) -> None:
        """See `Wire`."""
