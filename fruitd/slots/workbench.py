"""What is kept from one segment of a parcel to the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from threading import Event, Lock

from attrs import field, frozen

from fruitd.slots.past_cache import aligned_buffer
from swarm.parcel.unpack import PART_BYTES, Parts, Unpacker


@frozen
class _Tools:
    unpacker: Unpacker = field(factory=Unpacker)
    helper: ThreadPoolExecutor = field(factory=partial(ThreadPoolExecutor, 1, "make-segment"))
    flusher: ThreadPoolExecutor = field(factory=partial(ThreadPoolExecutor, 1, "flush-segment"))
    rooms: tuple[memoryview, memoryview] = field(
        factory=lambda: (aligned_buffer(PART_BYTES), aligned_buffer(PART_BYTES))
    )


class Workbench:
    """Segments of one parcel after the other are made here, one at a time. Blocks; for worker threads.

    The slot stays open: when a block device is closed for the last time, whoever closes it waits until all of it is written, and
    what was read of it has to be read again. And so do the tools: the memory that blocks are made in, and threads.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._descriptor: int | None = None
        self._tools: _Tools | None = None
        self._flushing: Future[None] | None = None

    def hold(self, path: Path) -> None:
        """Have this slot open, and no other. What is wrong with it those find who write it."""
        if path == self._path:
            return
        self.let_go()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self._path = path

    def let_go(self) -> None:
        """Keep nothing; what comes next is taken anew."""
        descriptor, self._descriptor, self._path = self._descriptor, None, None
        self.tidy()
        if descriptor is not None:
            os.close(descriptor)

    def tidy(self) -> None:
        """Keep the slot open, and nothing else."""
        tools, self._tools, self._flushing = self._tools, None, None
        if tools is not None:
            tools.helper.shutdown()
            tools.flusher.shutdown()

    def flush(self) -> None:
        """Have the medium take what was made, beside the next segment; it would have to in the end, when everything waits for it.

        Nobody is told where it fails. Whatever a medium has not taken, it does not give back when the slot is read in the end.
        """
        if self._descriptor is None or (self._flushing is not None and not self._flushing.done()):
            return
        tools = self._tools = self._tools or _Tools()
        self._flushing = tools.flusher.submit(os.fdatasync, self._descriptor)

    def work(
        self,
        make: Callable[[Unpacker, Iterator[memoryview]], Parts],
        use: Callable[[int, memoryview], None],
        checkpoint: Callable[[], None],
    ) -> None:
        """Make all parts, and use each, on two processors: whoever has used one makes the next, while the other uses his. In the
        end, or after an error, nobody is at it any more.

        Args:
            make: parts, with the unpacker and in the room that it is given. Never asked by two at once.
            use: may be called by two at once.
            checkpoint: called for every other part or so, in the caller's thread; may raise to cancel.
        """
        tools = self._tools = self._tools or _Tools()
        callers_room, helpers_room = tools.rooms
        room = callers_room

        def rooms() -> Iterator[memoryview]:
            while True:
                yield room

        parts, turn, ended = make(tools.unpacker, rooms()), Lock(), Event()

        def take_turns(own_room: memoryview, checkpoint: Callable[[], None]) -> None:
            nonlocal room
            try:
                while not ended.is_set():
                    checkpoint()
                    with turn:
                        room = own_room
                        part = next(parts, None)
                    if part is None:
                        return
                    use(*part)
            finally:
                ended.set()

        helper = tools.helper.submit(take_turns, helpers_room, lambda: None)
        try:
            take_turns(callers_room, checkpoint)
        finally:
            wait([helper])
            parts.close()  # a program may be at it
        helper.result()
