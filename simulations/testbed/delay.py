"""Delays every frame between two interfaces: this kernel may have no netem, so a process carries them over.

    python -m simulations.testbed.delay DELAY-MS READY-FILE        between the interfaces `left` and `right` of its namespace

Rates are kept by the ends of the line; this only holds each frame back for as long as it is told. Order is kept.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import deque
from pathlib import Path

FRAME_BYTES_MAX = 65_536
ETH_P_ALL = 3
HELD_MAX = 20_000
"""Frames on the way in one direction: 2 s of 100 Mbit/s. More are dropped, as a line with a full queue does."""
_PACKET_OUTGOING = 4


def main() -> None:
    """Carry frames until killed."""
    delay_s = float(sys.argv[1]) / 1000
    ends = [_opened("left"), _opened("right")]
    held: list[deque[tuple[float, bytes]]] = [deque(), deque()]
    Path(sys.argv[2]).touch()
    while True:
        due_s = [queue[0][0] for queue in held if queue]
        pause_s = max(0.0, min(due_s) - time.monotonic()) if due_s else None
        for ready in select.select(ends, [], [], pause_s)[0]:
            _take(ready, held[ends.index(ready)], delay_s)
        now_s = time.monotonic()
        for queue, other in zip(held, (ends[1], ends[0]), strict=True):
            while queue and queue[0][0] <= now_s:
                _give(other, queue.popleft()[1])


def _opened(interface: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    end.bind((interface, 0))
    end.setblocking(False)
    return end


def _take(end: socket.socket, queue: deque[tuple[float, bytes]], delay_s: float) -> None:
    """Everything that has come in by now; what we sent ourselves is shown to us as well, and is none of it."""
    while True:
        try:
            frame, address = end.recvfrom(FRAME_BYTES_MAX)
        except OSError:
            return  # nothing more for now; or the other end has gone, and soon this process
        if address[2] != _PACKET_OUTGOING and len(queue) < HELD_MAX:
            queue.append((time.monotonic() + delay_s, frame))


def _give(end: socket.socket, frame: bytes) -> None:
    try:
        end.send(frame)
    except OSError:
        return  # as if it were lost on the way: the other end is down, or its queue is full


if __name__ == "__main__":
    main()
