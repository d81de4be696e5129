"""Frames on a TCP stream: a length in four bytes, then the sealed frame. One request, one reply, then both
sides close."""

from __future__ import annotations

import trio

from swarm.address import Address
from swarm.envelope import STREAM_FRAME_BYTES_MAX
from swarm.errors import Reason, RefusedError, UnavailableError

LENGTH_BYTES = 4
READ_BYTES = 16 * 1024
"""Read at once: memory grows with what really came, not with what a length promises."""


async def read_frame(stream: trio.abc.ReceiveStream, most: int = STREAM_FRAME_BYTES_MAX) -> bytes:
    """The next frame, of at most so many bytes.

    Raises:
        RefusedError: a length out of bounds.
        UnavailableError: the peer closed too early.
        trio.BrokenResourceError: the connection failed.
    """
    length = int.from_bytes(await _read_exactly(stream, LENGTH_BYTES), "big")
    if not 1 <= length <= most:
        raise RefusedError("the length of a stream frame is out of bounds", Reason.TOO_LARGE)
    return await _read_exactly(stream, length)


async def write_frame(stream: trio.abc.SendStream, frame: bytes) -> None:
    """Send one frame."""
    await stream.send_all(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)


async def ask(peer: Address, request: bytes, timeout_s: float) -> bytes:
    """Connect, send one frame, read one frame, close.

    Raises:
        RefusedError: what came back is no frame, or the peer took the connection and gave no whole frame in `timeout_s`.
        UnavailableError: nobody is there, or no longer, in words.
    """
    connected = False
    try:
        with trio.fail_after(timeout_s):
            stream = await trio.open_tcp_stream(peer.host, peer.port, happy_eyeballs_delay=timeout_s)
            connected = True
            async with stream:
                await write_frame(stream, request)
                return await read_frame(stream)
    except trio.TooSlowError:
        if connected:
            raise RefusedError(
                f"too slow: no whole answer within {timeout_s:.0f} s", Reason.TOO_SLOW
            ) from None
        raise UnavailableError(f"cannot connect within {timeout_s:.0f} s") from None
    except trio.BrokenResourceError as error:
        raise UnavailableError("the connection broke") from error
    except OSError as error:
        raise UnavailableError(f"cannot connect: {error.strerror or error}") from error


async def _read_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = await stream.receive_some(min(READ_BYTES, count - len(parts)))
        if not part:
            raise UnavailableError("the peer closed the connection without a reply")
        parts += part
    return bytes(parts)
