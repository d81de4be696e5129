"""Frames on a stream: whole or refused, whatever the other side does."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from swarm.envelope import STREAM_FRAME_BYTES_MAX
from swarm.errors import RefusedError, UnavailableError
from swarm.shell.streams import read_frame, write_frame


@pytest.mark.parametrize("size", [1, 3, 16 * 1024, 16 * 1024 + 1, STREAM_FRAME_BYTES_MAX])
def test_frames_arrive_whole_however_they_are_cut(size: int) -> None:
    """A reply that came in several segments would be taken for garbage."""
    frame = random.Random(size).randbytes(size)

    async def main() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_frame, ours, frame)
            assert await read_frame(theirs) == frame

    trio.run(main)


def read(data: bytes) -> bytes:
    async def main() -> bytes:
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(data)
        await ours.aclose()
        return await read_frame(theirs)

    return trio.run(main)


def test_byte_by_byte_cuts_are_noticed() -> None:
    """Half a frame could be taken for a whole one."""
    whole = (5).to_bytes(4, "big") + b"frame"
    assert read(whole) == b"frame"
    for length in range(len(whole)):
        with pytest.raises(UnavailableError):
            read(whole[:length])


@pytest.mark.parametrize("length", [0, STREAM_FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_lengths_out_of_bounds_are_refused_at_once(length: int) -> None:
    """A peer could make a small Pi set memory aside for a frame that never comes."""
    with pytest.raises(RefusedError):
        read(length.to_bytes(4, "big") + b"x" * 10)


@pytest.mark.fuzz
def test_fuzz_read_frame() -> None:
    """Garbage on a stream could stop the task that serves streams."""
    rng = random.Random(3)
    for _ in range(500):
        data = rng.choice([b"", b"\0\0\0", b"\0\0\1"]) + rng.randbytes(rng.randrange(300))
        try:
            frame = read(data)
        except (RefusedError, UnavailableError):
            continue
        assert data[4 : 4 + len(frame)] == frame
